"""`pannier trace MODEL`: texts generated, and the routers' choices written."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ArgumentError
from ..server.flags.given import Given
from ..server.flags.parser import add_flags, read_given
from ..server.flags.table import TRACE_GROUPS
from ..server.flags.values import at_least

if TYPE_CHECKING:
    from ..server.config import EngineConfig
    from .prompts import Prompt
    from .recorder import Recorder

N_PREDICT = 128
CTX_STEP = 256


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags: placement, sampling and threads are those of the other commands."""
    parser.allow_abbrev = False
    parser.usage = "%(prog)s [MODEL] --prompts FILE -o TRACE [FLAG ...]"
    parser.add_argument("model", nargs="?", metavar="MODEL", help="the GGUF file to trace")
    add = parser.add_argument_group("trace").add_argument
    add(
        "--prompts",
        type=Path,
        required=True,
        metavar="FILE",
        help='a prompt on each line; of a .jsonl file {"prompt": ...} or {"messages": ...}',
    )
    add(
        *("-o", "--out"),
        type=Path,
        required=True,
        metavar="TRACE",
        help="JSON file to write, compressed if it ends in .gz",
    )
    add(
        *("-n", "--predict", "--n-predict"),
        type=at_least(1),
        default=N_PREDICT,
        metavar="N",
        help="most tokens generated after each prompt (default: %(default)s)",
    )
    add(
        *("-np", "--parallel"),
        type=at_least(1),
        default=1,
        metavar="N",
        help="texts generated at once, as for so many clients (default: 1)",
    )
    add("--chat", action="store_true", help="prompts are questions: ask them by the chat template")
    add_flags(parser, TRACE_GROUPS)


def execute(args: argparse.Namespace) -> int:
    """Generate, write, and print the path."""
    from ..engine.progress import say
    from ..modelfile import open_model_file
    from ..server.flags.settings import engine_config
    from ..server.named_model import find_model, find_or_build
    from .prompts import read_prompts
    from .trace_file import write_trace
    from .traced_model import expert_layers, traced_model

    if not args.out.absolute().parent.is_dir():
        raise ArgumentError(f"-o {args.out}: there is no folder {args.out.parent}")
    given = read_given(args, TRACE_GROUPS)
    prompts = read_prompts(args.prompts)
    path = find_model(args.model, given)
    file = open_model_file(path, given.get("engine.kv_overrides", ()))
    model, sizes = traced_model(file), expert_layers(file)
    engine = find_or_build(given.get("start.backend"))
    config = replace(
        engine_config(given, str(path), str(engine.directory)), n_parallel=args.parallel
    )
    recorder = record(config, args, given, prompts)
    trace = recorder.trace(model, sizes, engine.name)
    write_trace(args.out, trace)
    say(
        f"{trace.n_tokens} tokens, {recorder.n_generated} of them decoded at "
        f"{recorder.tokens_per_s:.1f} tokens/s; `pannier trace show {args.out}`"
    )
    sys.stdout.write(f"{args.out}\n")
    return 0


def record(
    config: EngineConfig,
    args: argparse.Namespace,
    given: Given,
    prompts: Sequence[Prompt],
) -> Recorder:
    """Generate in this process. Raises `PannierError`."""
    from .. import _ffi
    from ..chat_cli.cli import read_sampling
    from ..engine.progress import progress
    from ..engine.store import open_engine
    from ..server.loading import context_options, load_model
    from .prompts import tokens_of
    from .recorder import Recorder

    assert config.engine is not None
    _ffi.load(open_engine(Path(config.engine)).library)
    with load_model(config) as model:
        tokens = [tokens_of(model, prompt, chat=args.chat) for prompt in prompts]
        config = with_room(config, given, max(map(len, tokens)) + args.predict)
        options = context_options(config, model.n_ctx_train)
        with model.context(strict=config.strict, routes=True, **options) as context:
            recorder = Recorder(context, read_sampling(given, model.metadata), args.predict)
            with progress("recording", "tokens") as report:
                recorder.run(tokens, report)
    return recorder


def with_room(config: EngineConfig, given: Given, n_tokens: int) -> EngineConfig:
    """For as many texts of so many tokens as there are at once, if nobody said for how many."""
    n_ctx = config.n_parallel * -(-n_tokens // CTX_STEP) * CTX_STEP
    return replace(config, n_prefixes=0, **{} if given.get("engine.n_ctx") else {"n_ctx": n_ctx})
