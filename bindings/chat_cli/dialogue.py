"""Turn after turn: with a person at the terminal, or with questions that are already there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from ..errors import CacheFull, PannierError
from ..modelfile.cli import size_text
from .commands import Again, Leave, is_command, run_command
from .pump import run_reply
from .session import ReplyEnd, Session, context_full
from .terminal import Terminal

CUT = {"length": "cut off by -n", "interrupted": "stopped"}


def talk(session: Session, terminal: Terminal) -> None:
    """Until the user ends. What goes wrong in a turn is said, and the next one can begin."""
    with contextlib.suppress(Leave, KeyboardInterrupt):
        while (line := terminal.ask()) is not None:
            try:
                take(line, session, terminal)
            except PannierError as error:
                terminal.end_reply()
                terminal.say(str(error))


def take(line: str, session: Session, terminal: Terminal) -> None:
    """A command, a message, or nothing. Raises `Leave` and `PannierError`."""
    if is_command(line):
        outcome = run_command(line, session)
        if not isinstance(outcome, Again):
            terminal.say(outcome)
            return
        line = outcome.text
    if line.strip():
        end = answer(line, session, terminal)
        if end.finish == "context":
            terminal.say(f"the reply is cut off: {context_full(end.n_used, end.n_ctx)}")


def ask_all(questions: Iterable[str], session: Session, terminal: Terminal) -> None:
    """The replies to all questions, one after the other.

    Raises:
        KeyboardInterrupt: Ctrl-C stopped one.
        CacheFull: one was cut off, or a question found no room.
    """
    for question in questions:
        end = answer(question, session, terminal)
        if end.finish == "interrupted":
            raise KeyboardInterrupt
        if end.finish == "context":
            raise CacheFull(f"the reply is cut off: {context_full(end.n_used, end.n_ctx)}")


def answer(text: str, session: Session, terminal: Terminal) -> ReplyEnd:
    """One turn on the terminal."""
    end = run_reply(session.say(text), session.speaker, terminal.show)
    terminal.end_reply()
    terminal.note(summary(end))
    return end


def summary(end: ReplyEnd) -> str:
    """The line after a reply."""
    parts = [f"{end.n_tokens} token{'s' * (end.n_tokens != 1)}"]
    if end.tokens_per_s is not None:
        parts.append(f"{end.tokens_per_s:.1f} tokens/s")
    parts.append(f"context {end.n_used}" + (f" of {end.n_ctx}" if end.n_ctx else ""))
    if end.memory_bytes:
        parts.append(f"{end.memory_bytes / 2**20:.1f} MiB")
    if end.experts is not None and end.experts.hit_rate is not None:
        parts.append(
            f"experts {end.experts.hit_rate:.0%} in the cache, "
            f"{size_text(end.experts.uploaded_bytes)} uploaded in {end.experts.seconds:.2f} s"
        )
    if end.finish in CUT:
        parts.insert(0, CUT[end.finish])
    return ", ".join(parts)
