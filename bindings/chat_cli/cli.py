"""`pannier chat`: llama-cli's flags, with a model in this process."""

from __future__ import annotations

import argparse
import math
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..sampling import SamplingParams
from ..server.config import EngineConfig
from ..server.flag_values import at_least
from ..server.flags import add_context, add_loading, add_model, add_placement, read_common
from ..server.named_model import find_model, find_or_build

if TYPE_CHECKING:
    from ..context import Context
    from .session import Session
    from .terminal import Terminal

SAMPLING = {"temp": "temperature", "top_k": "top_k", "top_p": "top_p", "min_p": "min_p",
            "seed": "seed"}  # fmt: skip
"""Flags by the name of their field in `SamplingParams`."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.allow_abbrev = False
    model = parser.add_argument_group("model")
    add_model(model, "talk to")
    add_loading(model)
    _add_conversation(parser.add_argument_group("conversation"))
    _add_sampling(parser.add_argument_group("sampling"))
    add_context(parser.add_argument_group("context"))
    add_placement(parser.add_argument_group("placement"))


def execute(args: argparse.Namespace) -> int:
    """Talk until the user ends, or answer what is asked with -p or on standard input."""
    from .. import _ffi
    from ..server.loading import load_model, make_context
    from .terminal import Terminal

    path = find_model(args)
    terminal = Terminal()
    engine = find_or_build(args.backend)
    _ffi.load(engine.library)
    config = one_sequence(args, str(path), str(engine.directory))
    with terminal.loading(path.name) as progress:
        model = load_model(config, progress)
    with model, make_context(model, config) as context:
        run(args, context, terminal)
    return 0


def one_sequence(args: argparse.Namespace, model: str, engine: str) -> EngineConfig:
    """Placed as a server would, for one client."""
    return replace(read_common(args, model, engine), n_parallel=1, n_prefixes=0)


def run(args: argparse.Namespace, context: Context, terminal: Terminal) -> None:
    """The conversation. Raises `PannierError` where no person can be told."""
    from .dialogue import ask_all, talk

    session = make_session(args, context)
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


def make_session(args: argparse.Namespace, context: Context) -> Session:
    """An empty conversation with the model of this context."""
    from .local import LocalSpeaker
    from .session import Session

    sampling = read_sampling(args, context.model.metadata)
    return Session(LocalSpeaker(context, sampling, args.predict), args.system_prompt)


def read_sampling(args: argparse.Namespace, metadata: dict[str, str]) -> SamplingParams:
    """llama-server's defaults, the model file's in their place, then the arguments."""
    from ..server.defaults import sampling_of

    given = {field: getattr(args, name) for name, field in SAMPLING.items()}
    changes = {field: value for field, value in given.items() if value is not None}
    return sampling_of(metadata).with_changes(**changes)


# ---------------------------------------------------------------- flags


def unicode(text: str) -> str:
    """An argument whose bytes that are no UTF-8 are replaced: templates take Unicode only."""
    return os.fsencode(text).decode("utf-8", "replace")


def number(text: str) -> float:
    """A number, not infinite."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return value


def n_predict(text: str) -> int:
    """Tokens of a reply: a number, or -1 for no limit."""
    return -1 if text == "-1" else at_least(1)(text)


def seed(text: str) -> int:
    """A seed, or -1 for a random one."""
    return -1 if text == "-1" else at_least(0)(text)


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


def _add_sampling(group: Any) -> None:
    for names, type, text in (
        (("--temp", "--temperature"), number, "temperature; 0: always the most likely token"),
        (("--top-k",), at_least(0), "draw from the N most likely tokens; 0: from all"),
        (("--top-p",), number, "draw from the most likely tokens that together reach N; 1: all"),
        (("--min-p",), number, "leave out what is less than N times as likely as the best; 0: "
         "nothing"),
    ):  # fmt: skip
        default = getattr(SamplingParams, SAMPLING[names[0].strip("-").replace("-", "_")])
        group.add_argument(
            *names,
            type=type,
            metavar="N",
            help=f"{text} (default: what the model file says, else {default})",
        )
    group.add_argument(
        "-s",
        "--seed",
        type=seed,
        metavar="N",
        help="seed of the random choices; -1: another one each time (default: -1)",
    )
