"""`pannier complete`: one text gone on with, for scripts."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from ..errors import ArgumentError
from ..server.flags.parser import add_flags, add_sources, read_given
from ..server.flags.table import CHAT_GROUPS
from .cli import (
    add_remote,
    add_reply,
    local_speaker,
    remote_speaker,
    unicode,
)

if TYPE_CHECKING:
    from .local import LocalSpeaker
    from .remote import RemoteSpeaker
    from .terminal import Terminal


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.allow_abbrev = False
    parser.usage = "%(prog)s [TEXT] [FLAG ...]"
    parser.add_argument(
        "text",
        nargs="?",
        type=unicode,
        metavar="TEXT",
        help="what to go on with (default: all of standard input)",
    )
    group = parser.add_argument_group("text")
    add_remote(group, positional=False)
    add_reply(group)
    add_flags(parser, CHAT_GROUPS)
    add_sources(parser, CHAT_GROUPS)


def execute(args: argparse.Namespace) -> int:
    """Print what follows the text, and nothing else, on standard output."""
    from .terminal import Terminal

    text = args.text if args.text is not None else sys.stdin.read()
    if not text:
        raise ArgumentError("there is no text: give one, or write it to standard input")
    terminal = Terminal()
    given = read_given(args, CHAT_GROUPS)
    if args.url:
        run(text, remote_speaker(args, given), terminal)
    else:
        with local_speaker(None, args, given, terminal) as speaker:
            run(text, speaker, terminal)
    return 0


def run(text: str, speaker: LocalSpeaker | RemoteSpeaker, terminal: Terminal) -> None:
    """One completion on the terminal. Raises `KeyboardInterrupt` for Ctrl-C."""
    from .dialogue import summary
    from .pump import run_reply

    end = run_reply(speaker.complete(text), speaker, terminal.show)
    terminal.end_reply()
    terminal.note(summary(end))
    if end.finish == "interrupted":
        raise KeyboardInterrupt
