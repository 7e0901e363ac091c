"""Hugging Face checkpoint to GGUF.

path = convert("./Qwen3-Next", "q.gguf", type="bf16")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .converter import ConvertProgress, Plan, convert, plan
    from .demo import demo_model

__all__ = ["ConvertProgress", "Plan", "convert", "demo_model", "plan"]


def __getattr__(name: str) -> Any:
    """Import a public name on first use: the command line and the child process stay light,
    and the child must not have imported gguf before it puts llama.cpp's own in front."""
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(".demo" if name == "demo_model" else ".converter", __name__), name)
