"""What a conversation keeps. The speaker is fake."""

from __future__ import annotations

import pytest

from pannier.chat_cli.session import ReplyEnd, Session
from pannier.errors import DecodeError


class Parrot:
    """Says what it heard last, in two pieces; `finish` is how."""

    def __init__(self, finish="stop"):
        self.finish = finish
        self.asked = []

    def reply(self, messages):
        self.asked.append([(message["role"], message["content"]) for message in messages])
        text = messages[-1]["content"]
        if text:
            yield text[:1]
            yield text[1:]
        return ReplyEnd(text, self.finish, n_prompt=9, n_reused=0, n_tokens=2, n_ctx=99)


class Broken:
    def reply(self, messages):
        yield "half of "
        raise DecodeError("the step failed")


def say(session, text):
    """The pieces of a reply, and its end."""
    pieces, reply = [], session.say(text)
    while True:
        try:
            pieces.append(next(reply))
        except StopIteration as ended:
            return pieces, ended.value


def test_turns_follow_each_other():
    session = Session(Parrot(), "be brief")
    assert say(session, "one")[0] == ["o", "ne"]
    assert say(session, "two")[1].n_used == 11
    assert session.speaker.asked == [
        [("system", "be brief"), ("user", "one")],
        [("system", "be brief"), ("user", "one"), ("assistant", "one"), ("user", "two")],
    ]


def test_clear_keeps_the_system_prompt():
    for system, kept in (("be brief", ["be brief"]), (None, []), ("", [])):
        session = Session(Parrot(), system)
        say(session, "one")
        session.clear()
        assert [message["content"] for message in session.messages] == kept


@pytest.mark.parametrize("finish", ["stop", "length", "context", "interrupted"])
def test_what_was_shown_is_kept(finish):
    session = Session(Parrot(finish))
    say(session, "one")
    assert [message["content"] for message in session.messages] == ["one", "one"]


@pytest.mark.parametrize(("finish", "n"), [("stop", 2), ("interrupted", 0)])
def test_an_empty_reply_is_a_turn_unless_it_was_stopped(finish, n):
    session = Session(Parrot(finish))
    say(session, "")
    assert len(session.messages) == n


def test_a_turn_that_fails_leaves_the_conversation_as_it_was():
    session = Session(Parrot())
    say(session, "one")
    before = list(session.messages)
    session.speaker = Broken()
    with pytest.raises(DecodeError):
        say(session, "two")
    assert session.messages == before
