"""`pannier serve`: llama-server's flags, checked before anything is loaded."""

from __future__ import annotations

import argparse
import gc
from typing import TYPE_CHECKING

from .config import EngineConfig
from .flags import add_flags, read_config
from .named_model import find_model, find_or_build

if TYPE_CHECKING:
    from ..engine import Engine
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
        run(config, settings, engine, listener)
    return 0


def read_settings(args: argparse.Namespace) -> ServerSettings:
    """The HTTP side's settings."""
    from importlib.metadata import version

    from .chat_flags import read_chat
    from .state import ServerSettings

    return ServerSettings(
        model_path=str(find_model(args)),
        aliases=args.alias,
        api_keys=(*args.api_key, *args.api_key_file),
        hang_timeout_s=args.hang_timeout,
        overflow="shift" if args.context_shift else "stop",
        chat=read_chat(args),
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
            if settings.chat.template:
                vocabulary.set_chat_template(settings.chat.template)
            gc.freeze()  # what is there now stays: looking through it again and again is time lost
            uvloop.run(serve(start_engine, vocabulary, settings, listener))
