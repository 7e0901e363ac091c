"""Lines that begin with a slash."""

from __future__ import annotations

import pytest

from pannier.chat_cli.commands import COMMANDS, Leave, is_command, run_command
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
    [("/nope x", "/nope is no command; /help"), ("/", "/ is no"), ("/clear x", "takes no arg")],
)
def test_what_cannot_be_done_is_said(line, says):
    session = Session(None)
    session.messages.append({"role": "user", "content": "hello"})
    assert says in run_command(line, session)
    assert session.messages
