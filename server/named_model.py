"""The model and the engine that a command line names, for `serve` and for `chat`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..engine import Engine


def find_model(path: str | None, given: Mapping[str, Any]) -> Path:
    """The one model that is named: by its path, by -m or by --demo. Raises `ModelError`."""
    from ..convert.demo import demo_model
    from ..errors import ModelError

    named = [name for name in (path, given.get("start.model_flag")) if name]
    demo = bool(given.get("start.demo"))
    if len(named) + demo != 1:
        raise ModelError(
            "name one model: a GGUF file, or -m FILE, or --demo for a tiny built-in one"
        )
    if demo:
        return demo_model()
    found = Path(named[0]).expanduser()
    if not found.is_file():
        raise ModelError(f"{found} is not a file; name a GGUF file, or try --demo")
    return found


def find_or_build(backend: str | None) -> Engine:
    """The engine of this backend, built first if need be."""
    from ..engine import ensure_engine

    return ensure_engine(backend)
