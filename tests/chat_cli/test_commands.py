"""Lines that begin with a slash."""

from __future__ import annotations

import pytest

from pannier.chat_cli.commands import COMMANDS, Again, Leave, is_command, run_command
from pannier.chat_cli.session import Session


def test_what_a_command_is():
    assert is_command("/help")
    assert not any(is_command(line) for line in (" /help", "help", ""))


def test_clear():
    session = Session(None, "be brief")
    session.messages.append({"role": "user", "content": "hello"})
    assert run_command("/clear", session) == "a new conversation"
    assert [message["role"] for message in session.messages] == ["system"]


def test_help_names_every_command():
    text = run_command("/help ", Session(None))
    assert all(name in text and command.summary in text for name, command in COMMANDS.items())
    assert "Ctrl-C" in text and "Ctrl-D" in text


def test_exit():
    with pytest.raises(Leave):
        run_command("/exit", Session(None))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("/nope x", "/nope is no command; /help"),
        ("/", "/ is no"),
        ("/clear x", "takes no arg"),
        ("/save", "/save needs FILE"),
        ("/load /no/such/file", "cannot read /no/such/file"),
        ("/save /no/such/folder/file", "cannot write /no/such/folder/file"),
        ("/regen", "there is no reply yet"),
    ],
)
def test_what_cannot_be_done_is_said(line, says):
    session = Session(None)
    session.messages.append({"role": "user", "content": "hello"})
    assert says in run_command(line, session)
    assert session.messages


def test_the_last_question_is_asked_again():
    session = Session(None, "be brief")
    session.messages += [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert run_command("/regen", session) == Again("a")
    assert [message["role"] for message in session.messages] == ["system"]


def test_conversations_are_written_and_read(tmp_path):
    session, other = Session(None, "be brief"), Session(None)
    session.messages += [{"role": "user", "content": "é\ud800"[:1]}]
    file = tmp_path / "a file.json"
    assert run_command(f"/save {file}", session) == f"2 messages written to {file}"
    assert run_command(f"/load {file}", other) == f"2 messages read from {file}"
    assert other.messages == session.messages


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not JSON"),
        ("[" * 100000, "is not JSON"),
        ("{}", "is no list of messages"),
        ('[{"role": "user"}]', "is no list of messages"),
        ('[{"role": "user", "content": 3}]', "is no list of messages"),
    ],
)
def test_what_is_no_conversation(text, says, tmp_path):
    file = tmp_path / "f"
    file.write_text(text)
    session = Session(None, "be brief")
    before = list(session.messages)
    assert says in run_command(f"/load {file}", session)
    assert session.messages == before
