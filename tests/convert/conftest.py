"""The tiny checkpoints of tests/data, and copies of them that tests may break."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[1] / "data"
FAMILIES = ("qwen3next", "qwen3moe", "gemma3", "llama")
_NOT_CHECKPOINT = shutil.ignore_patterns("*.gguf", "*.npz")


@pytest.fixture(scope="session")
def data() -> Path:
    """Folder of the tiny checkpoints. Read only."""
    return DATA


@pytest.fixture
def qwen3moe(tmp_path: Path) -> Path:
    """A copy of the tiny Qwen3Moe checkpoint."""
    return _copy("qwen3moe", tmp_path)


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    """A copy of the tiny Llama checkpoint."""
    return _copy("llama", tmp_path)


def _copy(name: str, folder: Path) -> Path:
    return Path(shutil.copytree(DATA / name, folder / name, ignore=_NOT_CHECKPOINT))
