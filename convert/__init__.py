"""Hugging Face checkpoint to GGUF.

path = convert("./Qwen3-Next", "q.gguf", quant="Q4_K_M", experts="cpu")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .converter import convert, plan
    from .demo import demo_model
    from .table import ConvertProgress, Plan, TensorPlan

__all__ = ["ConvertProgress", "Plan", "TensorPlan", "convert", "demo_model", "plan"]

_MODULES = {"convert": "converter", "plan": "converter", "demo_model": "demo"}


def __getattr__(name: str) -> Any:
    """Import a public name on first use: the command line and the child process stay light,
    and the child must not have imported gguf before it puts llama.cpp's own in front."""
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES.get(name, 'table')}", __name__), name)
