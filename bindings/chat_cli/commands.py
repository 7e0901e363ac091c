"""What a line that begins with a slash does."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .session import Session, is_message


class Leave(Exception):
    """The user wants to end."""


@dataclass(frozen=True)
class Again:
    """Something that the user said before."""

    text: str


@dataclass(frozen=True)
class Command:
    """A summary for `/help`, and what it does: it returns what to tell the user, or what to ask
    again."""

    summary: str
    run: Callable[[Session, str], str | Again]
    takes: str = ""
    """What stands behind it."""


def is_command(line: str) -> bool:
    """A line that begins with a space never is one."""
    return line.startswith("/")


def run_command(line: str, session: Session) -> str | Again:
    """What to tell the user, or what to ask again. Raises `Leave`."""
    name, _, argument = line.strip().partition(" ")
    argument = argument.strip()
    command = COMMANDS.get(name)
    if command is None:
        return f"{name} is no command; /help lists them, and a space before it makes it a message"
    if argument and not command.takes:
        return f"{name} takes no arguments"
    if command.takes and not argument:
        return f"{name} needs {command.takes}"
    return command.run(session, argument)


def _clear(session: Session, _argument: str) -> str:
    session.clear()
    return "a new conversation"


def _regen(session: Session, _argument: str) -> str | Again:
    asked = session.undo()
    return "there is no reply yet" if asked is None else Again(asked)


def _save(session: Session, path: str) -> str:
    try:
        text = json.dumps(session.messages, ensure_ascii=False, indent=1)
        Path(path).expanduser().write_text(text + "\n", "utf-8")
    except OSError as error:
        return f"cannot write {path}: {error.strerror}"
    return f"{len(session.messages)} messages written to {path}"


def _load(session: Session, path: str) -> str:
    try:
        messages = json.loads(Path(path).expanduser().read_text("utf-8"))
    except OSError as error:
        return f"cannot read {path}: {error.strerror}"
    except (ValueError, RecursionError):
        return f"{path} is not JSON"
    if not isinstance(messages, list) or not all(map(is_message, messages)):
        return f"{path} is no list of messages, each with a role and a content"
    session.messages = messages
    return f"{len(messages)} messages read from {path}"


def _help(_session: Session, _argument: str) -> str:
    typed = {name: f"{name} {command.takes}".strip() for name, command in COMMANDS.items()}
    rows = [f"{typed[name]:12}{command.summary}" for name, command in COMMANDS.items()]
    return "\n".join([*rows, "Ctrl-C      stop a reply; at the prompt: end", "Ctrl-D      end"])


def _exit(_session: Session, _argument: str) -> str:
    raise Leave


COMMANDS = {
    "/clear": Command("begin a new conversation", _clear),
    "/regen": Command("have the last question answered again", _regen),
    "/save": Command("write the conversation to a file, as JSON", _save, "FILE"),
    "/load": Command("go on with a conversation from such a file", _load, "FILE"),
    "/help": Command("show this list", _help),
    "/exit": Command("end", _exit),
}
