"""`pannier serve`: llama-server's flags, checked before anything is loaded."""

from __future__ import annotations

import argparse
import gc
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import ArgumentError
from .config import EngineConfig
from .flags.given import Given
from .flags.parser import add_flags, add_sources, read_given
from .flags.settings import engine_config, http_settings, log_settings, server_settings
from .flags.table import GROUPS
from .named_model import find_model, find_or_build

if TYPE_CHECKING:
    from ..engine import Engine
    from .listener import Listener
    from .settings import ServerSettings


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.allow_abbrev = False
    parser.usage = "%(prog)s [MODEL] [FLAG ...]"
    parser.add_argument("model", nargs="?", metavar="MODEL", help="the GGUF file to serve")
    add_flags(parser, GROUPS)
    add_sources(parser, GROUPS)


def execute(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM; both end with status 0."""
    from . import logs
    from .dangers import warn
    from .listener import Listener

    given = read_given(args, GROUPS)
    if given.get("start.list_devices"):
        return list_devices(given)
    logs.set_up(log_settings(given))
    settings = server_settings(given, str(find_model(args.model, given)))
    http = http_settings(given)
    with Listener(http) as listener:
        warn(settings, http)
        engine = find_or_build(given.get("start.backend"))
        config = engine_config(given, settings.model_path, str(engine.directory))
        if given.get("start.vram") or config.experts == "auto":
            config = planned(config, given)
        run(config, settings, engine, listener)
    return 0


def planned(config: EngineConfig, given: Given) -> EngineConfig:
    """The configuration with what a plan chooses for --vram, or for --experts auto, which lets the
    plan's ways decode before one is kept. Raises `PlanError`."""
    from ..engine.progress import say
    from ..planner.arguments import flags_between
    from ..planner.calibrate import calibrated
    from ..planner.child import ask, ask_for_experts, question_of

    question = question_of(config, given)
    plan = ask(question) if question.vram else ask_for_experts(question)
    if plan is None:
        return config
    if config.experts == "auto":
        plan = calibrated(plan)
    arguments = shlex.join(flags_between(config, plan.config))
    say("; ".join([f"planned {arguments or 'what was asked for'}", *plan.given_up]))
    if not question.vram:
        return plan.config
    limits = tuple((budget.device, budget.usable_bytes) for budget in plan.wish.devices)
    strict = given.get("engine.strict", True)
    return replace(plan.config, memory_limits=limits, strict=strict)


def run(
    config: EngineConfig,
    settings: ServerSettings,
    engine: Engine,
    listener: Listener,
) -> None:
    """Start an engine, load the vocabulary beside it, serve, and end both."""
    import uvloop

    from .. import _ffi
    from ..model import Model
    from .process import EngineStarter
    from .serve import serve

    with EngineStarter(config) as start_engine:
        _ffi.load(engine.library)
        with Model(
            config.model, vocab_only=True, devices=("none",), kv_overrides=config.kv_overrides
        ) as vocabulary:
            check_biases(settings, vocabulary.n_vocab)
            if settings.chat.template:
                vocabulary.set_chat_template(settings.chat.template)
            gc.freeze()  # what is there now stays: looking through it again and again is time lost
            uvloop.run(serve(start_engine, vocabulary, settings, listener))


def check_biases(settings: ServerSettings, n_vocab: int) -> None:
    """Raises `ArgumentError` for a token that the model has not."""
    for token in settings.sampling.get("logit_bias", ()):
        if token >= n_vocab:
            raise ArgumentError(
                f"--logit-bias names token {token}; this model has 0 to {n_vocab - 1}"
            )


def list_devices(given: Given) -> int:
    """One line for each device of the engine, as llama-server prints them."""
    import sys

    from .. import _ffi
    from ..device import devices

    _ffi.load(find_or_build(given.get("start.backend")).library)
    sys.stdout.write("Available devices:\n")
    for device in devices():
        if device.type != "cpu":
            total, free = device.memory_total >> 20, device.memory_free >> 20
            sys.stdout.write(
                f"  {device.name}: {device.description} ({total} MiB, {free} MiB free)\n"
            )
    return 0
