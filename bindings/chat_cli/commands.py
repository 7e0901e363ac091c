"""What a line that begins with a slash does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .session import Session


class Leave(Exception):
    """The user wants to end."""


@dataclass(frozen=True)
class Command:
    """A summary for `/help`, and what it does: it returns what to tell the user."""

    summary: str
    run: Callable[[Session], str]


def is_command(line: str) -> bool:
    """A line that begins with a space never is one."""
    return line.startswith("/")


def run_command(line: str, session: Session) -> str:
    """What to tell the user. Raises `Leave`."""
    name = line.split()[0]
    command = COMMANDS.get(name)
    if command is None:
        return f"{name} is no command; /help lists them, and a space before it makes it a message"
    if line.split()[1:]:
        return f"{name} takes no arguments"
    return command.run(session)


def _clear(session: Session) -> str:
    session.clear()
    return "a new conversation"


def _help(_session: Session) -> str:
    rows = [f"{name:8}{command.summary}" for name, command in COMMANDS.items()]
    return "\n".join([*rows, "Ctrl-C  stop a reply; at the prompt: end", "Ctrl-D  end"])


def _exit(_session: Session) -> str:
    raise Leave


COMMANDS = {
    "/clear": Command("begin a new conversation", _clear),
    "/help": Command("show this list", _help),
    "/exit": Command("end", _exit),
}
