"""The model and the engine that a command line names, for `serve` and for `chat`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..engine import Engine


def find_model(args: argparse.Namespace) -> Path:
    """The one model that the arguments name. Raises `ModelError`."""
    from ..errors import ModelError

    named = [path for path in (args.model, args.model_flag) if path]
    if len(named) + bool(args.demo) != 1:
        raise ModelError(
            "name one model: a GGUF file, or -m FILE, or --demo for a tiny built-in one"
        )
    if args.demo:
        return make_demo()
    path = Path(named[0]).expanduser()
    if not path.is_file():
        raise ModelError(f"{path} is not a file; name a GGUF file, or try --demo")
    return path


def make_demo() -> Path:
    """The demo model in the user's cache folder. Made anew each time: that takes less than
    looking whether an older one is still the same."""
    from ..convert.demo import demo_model
    from ..engine.cache import cache_directory

    path = cache_directory() / "models" / "demo.gguf"
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(f".{os.getpid()}")
    return demo_model(beside).replace(path)


def find_or_build(backend: str | None) -> Engine:
    """The engine of this backend, built first if need be."""
    from ..engine import ensure_engine

    return ensure_engine(backend)
