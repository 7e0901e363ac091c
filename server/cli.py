"""`pannier serve`: llama-server's flags, checked before anything is loaded."""

from __future__ import annotations

import argparse
import gc
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

from ..planner.arguments import flags_between
from .config import EngineConfig
from .flags import add_flags, fixed_fields, read_config
from .named_model import find_model, find_or_build

if TYPE_CHECKING:
    from ..engine import Engine
    from ..planner import Plan
    from .serve import Listener
    from .state import ServerSettings


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.allow_abbrev = False
    add_flags(parser)


def execute(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM; both end with status 0."""
    from .serve import Address, Listener

    settings = read_settings(args)
    with Listener(Address(args.host, args.port)) as listener:
        engine = find_or_build(args.backend)
        config = read_config(args, settings.model_path, str(engine.directory))
        if args.vram:
            config = planned(args, config)
        run(config, settings, engine, listener)
    return 0


def planned(args: argparse.Namespace, config: EngineConfig) -> EngineConfig:
    """The configuration with what a plan chooses for --vram. Raises `PlanError`."""
    from ..engine.progress import say
    from ..planner.child import Question, ask

    plan = ask(Question(config, fixed_fields(args), args.vram, args.prefer))
    arguments = shlex.join(flags_between(config, plan.config))
    say("; ".join([f"planned {arguments or 'what was asked for'}", *plan.given_up]))
    return replace(plan.config, memory_limits=limits_of(plan))


def limits_of(plan: Plan) -> tuple[tuple[str, int], ...]:
    """Most bytes of buffers on each device."""
    return tuple((budget.device, budget.usable_bytes) for budget in plan.wish.devices)


def read_settings(args: argparse.Namespace) -> ServerSettings:
    """The HTTP side's settings."""
    from importlib.metadata import version

    from .state import ServerSettings

    return ServerSettings(
        model_path=str(find_model(args)),
        aliases=args.alias,
        api_keys=(*args.api_key, *args.api_key_file),
        hang_timeout_s=args.hang_timeout,
        overflow="shift" if args.context_shift else "stop",
        build_info=f"pannier-{version('pannier')}",
    )


def run(config: EngineConfig, settings: ServerSettings, engine: Engine, listener: Listener) -> None:
    """Start an engine, load the vocabulary beside it, serve, and end both."""
    import uvloop

    from .. import _ffi
    from ..model import Model
    from .process import EngineStarter
    from .serve import serve

    with EngineStarter(config) as start_engine:
        _ffi.load(engine.library)
        with Model(config.model, vocab_only=True, devices=("none",)) as vocabulary:
            gc.freeze()  # what is there now stays: looking through it again and again is time lost
            uvloop.run(serve(start_engine, vocabulary, settings, listener))
