"""What the conversion package of a llama.cpp tree can convert, read without running it."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path

from ..errors import ConvertError
from .checkpoint import Checkpoint
from .pretokenizer import pretokenizer_names
from .recipes import nearest

_NEEDED = ("torch", "transformers", "sentencepiece")
"""Modules that upstream's conversion imports. None is needed to serve."""


def supported_architectures(tree: Path) -> frozenset[str]:
    """Model classes that the tree's conversion package knows: the keys of its TEXT_MODEL_MAP.

    Raises ConvertError if `tree` is not a llama.cpp source tree with such a package.
    """
    path = tree / "conversion" / "__init__.py"
    if not path.is_file():
        raise ConvertError(
            f"{tree} is not a llama.cpp source tree: it has no {path.name} in a folder `conversion`"
        )
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "TEXT_MODEL_MAP":
            assert node.value is not None
            return frozenset(ast.literal_eval(node.value))
    raise ConvertError(f"{path} has no TEXT_MODEL_MAP: this llama.cpp is not the pinned one")


def require_architecture(checkpoint: Checkpoint, tree: Path) -> None:
    """Raise ConvertError, with the nearest names, for an architecture that is not supported."""
    supported = supported_architectures(tree)
    if not supported.intersection(checkpoint.architectures):
        raise ConvertError(
            f"the architecture {checkpoint.architecture} is not one that llama.cpp converts"
            f"{nearest(checkpoint.architecture, supported)}"
        )


def require_pretokenizer(name: str, tree: Path) -> None:
    """Raise ConvertError, with the nearest names, for a `--pre` that llama.cpp does not have."""
    names = pretokenizer_names(tree)
    if name not in names:
        raise ConvertError(f"llama.cpp has no pre-tokenizer {name!r}{nearest(name, names)}")


def require_modules() -> None:
    """Raise ConvertError where a module is missing that the conversion imports."""
    missing = [module for module in _NEEDED if find_spec(module) is None]
    if missing:
        raise ConvertError(
            f"conversion needs {' and '.join(missing)}, which this Python does not have: "
            "pip install 'pannier[convert]'"
        )
