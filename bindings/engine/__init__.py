"""The compiled engine: llama.cpp's source, the patch series, the build, the store.

engine = ensure_engine("cpu")      # built once, found afterwards
ctypes.CDLL(engine.library)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .find import ensure_engine, find_engine
    from .manifest import Manifest
    from .options import BuildOptions
    from .source import source_tree
    from .store import Engine

__all__ = [
    "BuildOptions",
    "Engine",
    "Manifest",
    "ensure_engine",
    "find_engine",
    "source_tree",
]

_HOMES = {
    "BuildOptions": "options",
    "Engine": "store",
    "Manifest": "manifest",
    "ensure_engine": "find",
    "find_engine": "find",
    "source_tree": "source",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use: `import pannier` must stay cheap."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
