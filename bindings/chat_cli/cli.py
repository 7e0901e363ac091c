"""`pannier chat`: llama-cli's flags, with a model in this process, or with a server."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import ArgumentError
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
    from .local import LocalSpeaker
    from .remote import RemoteSpeaker
    from .session import Speaker
    from .terminal import Terminal


KEY_VARIABLE = "PANNIER_API_KEY"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.allow_abbrev = False
    parser.usage = "%(prog)s [MODEL | URL] [FLAG ...]"
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="the GGUF file to talk to, or a server's address, as http://127.0.0.1:9931",
    )
    group = parser.add_argument_group("conversation")
    _add_conversation(group)
    add_reply(group)
    add_remote(group)
    add_flags(parser, CHAT_GROUPS)
    add_sources(parser, CHAT_GROUPS)


def execute(args: argparse.Namespace) -> int:
    """Talk until the user ends, or answer what is asked with -p or on standard input."""
    from .remote import is_url
    from .terminal import Terminal

    given = read_given(args, CHAT_GROUPS)
    terminal = Terminal()
    if is_url(args.model):
        args.url = args.model
    if args.url:
        greeting_of_url = f"{args.url}; /help lists the commands"
        run(args, remote_speaker(args, given), terminal, greeting_of_url)
    else:
        with local_speaker(args.model, args, given, terminal) as speaker:
            run(args, speaker, terminal, greeting(speaker.context))
    return 0


@contextlib.contextmanager
def local_speaker(
    model: str | None, args: argparse.Namespace, given: Given, terminal: Terminal
) -> Iterator[LocalSpeaker]:
    """A model in this process."""
    from .. import _ffi
    from ..server.loading import load_model, make_context
    from .local import LocalSpeaker

    path = find_model(model, given)
    engine = find_or_build(given.get("start.backend"))
    _ffi.load(engine.library)
    config = one_sequence(given, str(path), str(engine.directory))
    with terminal.loading(path.name) as progress:
        loaded = load_model(config, progress)
    if loaded.paging:
        terminal.say(f"warning: {loaded.paging}")
    with loaded, make_context(loaded, config) as context:
        problems = () if config.strict else context.placement().problems
        for problem in (*loaded.placement_notes, *loaded.host_memory.problems, *problems):
            terminal.say(f"warning: {problem}")
        sampling = read_sampling(given, loaded.metadata)
        yield LocalSpeaker(context, sampling, args.predict)


def remote_speaker(args: argparse.Namespace, given: Given) -> RemoteSpeaker:
    """A server. Raises `ArgumentError` for what is the server's to say."""
    from .remote import RemoteSpeaker, Server

    own = [key for key in getattr(args, "given", {}) if not key.startswith("sampling.")]
    if own:
        name = own[0].partition(".")[2]
        raise ArgumentError(f"{name} is the server's to say: start it so, or name a model file")
    options: dict[str, Any] = sampling_changes(given)
    if args.predict >= 0:
        options["max_tokens"] = args.predict
    key = args.api_key if args.api_key is not None else os.environ.get(KEY_VARIABLE, "")
    return RemoteSpeaker(Server(args.url, key), options)


def one_sequence(given: Given, model: str, engine: str) -> EngineConfig:
    """Placed as a server would, for one client."""
    return replace(engine_config(given, model, engine), n_parallel=1, n_prefixes=0)


def run(args: argparse.Namespace, speaker: Speaker, terminal: Terminal, greeting: str) -> None:
    """The conversation. Raises `PannierError` where no person can be told."""
    from .dialogue import ask_all, talk
    from .session import Session

    session = Session(speaker, args.system_prompt)
    if args.prompt is not None:
        ask_all([args.prompt], session, terminal)
    elif terminal.asks_person:
        terminal.note(greeting)
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


def add_reply(group: Any) -> None:
    """How long it may be."""
    group.add_argument(
        "-n",
        "--predict",
        "--n-predict",
        type=n_predict,
        default=-1,
        metavar="N",
        help="most tokens of a reply; -1: until the model ends it (default: -1)",
    )


def add_remote(group: Any, *, positional: bool = True) -> None:
    """Which server, and how to get in."""
    same = ", as in place of MODEL" if positional else ", instead of a model file"
    group.add_argument(
        "--url", metavar="URL", help=f"a server's address, as http://127.0.0.1:9931{same}"
    )
    group.add_argument(
        "--api-key", metavar="KEY", help=f"the server's key (default: {KEY_VARIABLE}, else none)"
    )
