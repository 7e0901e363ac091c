"""The model and the engine that a command line names, for `serve` and for `chat`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..engine import Engine


def find_model(args: argparse.Namespace) -> Path:
    """The one model that the arguments name. Raises `ModelError`."""
    from ..convert.demo import demo_model
    from ..errors import ModelError

    named = [path for path in (args.model, args.model_flag) if path]
    if len(named) + bool(args.demo) != 1:
        raise ModelError(
            "name one model: a GGUF file, or -m FILE, or --demo for a tiny built-in one"
        )
    if args.demo:
        return demo_model()
    path = Path(named[0]).expanduser()
    if not path.is_file():
        raise ModelError(f"{path} is not a file; name a GGUF file, or try --demo")
    return path


def find_or_build(backend: str | None) -> Engine:
    """The engine of this backend, built first if need be."""
    from ..engine import ensure_engine

    return ensure_engine(backend)
