"""`pannier chat`: llama-cli's flags, with a model in this process."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..sampling import SamplingParams
from ..server.config import EngineConfig
from ..server.flags.given import Given
from ..server.flags.parser import add_flags, add_sources, read_given
from ..server.flags.settings import engine_config, sampling_changes
from ..server.flags.table import CHAT_GROUPS
from ..server.flags.values import at_least
from ..server.named_model import find_model, find_or_build

if TYPE_CHECKING:
    from ..context import Context
    from .session import Session
    from .terminal import Terminal


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.allow_abbrev = False
    parser.usage = "%(prog)s [MODEL] [FLAG ...]"
    parser.add_argument("model", nargs="?", metavar="MODEL", help="the GGUF file to talk to")
    _add_conversation(parser.add_argument_group("conversation"))
    add_flags(parser, CHAT_GROUPS)
    add_sources(parser, CHAT_GROUPS)


def execute(args: argparse.Namespace) -> int:
    """Talk until the user ends, or answer what is asked with -p or on standard input."""
    from .. import _ffi
    from ..server.loading import load_model, make_context
    from .terminal import Terminal

    given = read_given(args, CHAT_GROUPS)
    path = find_model(args.model, given)
    terminal = Terminal()
    engine = find_or_build(given.get("start.backend"))
    _ffi.load(engine.library)
    config = one_sequence(given, str(path), str(engine.directory))
    with terminal.loading(path.name) as progress:
        model = load_model(config, progress)
    with model, make_context(model, config) as context:
        run(args, given, context, terminal)
    return 0


def one_sequence(given: Given, model: str, engine: str) -> EngineConfig:
    """Placed as a server would, for one client."""
    return replace(engine_config(given, model, engine), n_parallel=1, n_prefixes=0)


def run(args: argparse.Namespace, given: Given, context: Context, terminal: Terminal) -> None:
    """The conversation. Raises `PannierError` where no person can be told."""
    from .dialogue import ask_all, talk

    session = make_session(args, given, context)
    if args.prompt is not None:
        ask_all([args.prompt], session, terminal)
    elif terminal.asks_person:
        terminal.note(greeting(context))
        talk(session, terminal)
    else:
        ask_all(terminal.lines(), session, terminal)


def greeting(context: Context) -> str:
    """The first line that a person sees."""
    model = context.model
    return (
        f"{model.path.name}: {model.description}, context of {context.n_ctx_seq} tokens; "
        "/help lists the commands"
    )


def make_session(args: argparse.Namespace, given: Given, context: Context) -> Session:
    """An empty conversation with the model of this context."""
    from .local import LocalSpeaker
    from .session import Session

    sampling = read_sampling(given, context.model.metadata)
    return Session(LocalSpeaker(context, sampling, args.predict), args.system_prompt)


def read_sampling(given: Given, metadata: dict[str, str]) -> SamplingParams:
    """llama-server's defaults, the model file's in their place, then the arguments."""
    from ..server.defaults import sampling_of

    return sampling_of(metadata).with_changes(**sampling_changes(given))


# ---------------------------------------------------------------- flags


def unicode(text: str) -> str:
    """An argument whose bytes that are no UTF-8 are replaced: templates take Unicode only."""
    return os.fsencode(text).decode("utf-8", "replace")


def n_predict(text: str) -> int:
    """Tokens of a reply: a number, or -1 for no limit."""
    return -1 if text == "-1" else at_least(1)(text)


def _add_conversation(group: Any) -> None:
    add = group.add_argument
    add(
        "-sys",
        "--system-prompt",
        type=unicode,
        metavar="TEXT",
        help="what the model is told before the conversation",
    )
    add(
        "-p",
        "--prompt",
        type=unicode,
        metavar="TEXT",
        help="ask this, print the reply and end; without it, and if standard input is no "
        "terminal, each of its lines is asked in turn",
    )
    add(
        "-n",
        "--predict",
        "--n-predict",
        type=n_predict,
        default=-1,
        metavar="N",
        help="most tokens of a reply; -1: until the model ends it (default: -1)",
    )
