"""Tiny models to spoil, and what must become of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pannier.errors import ModelError
from pannier.modelfile import open_model_file

from .gguf_bytes import Gguf

DATA = Path(__file__).parents[1] / "data"
FILES = sorted(DATA.rglob("*.gguf"))
Refused = Callable[..., None]


def tiny(name: str = "qwen3next") -> Gguf:
    """The parts of a committed file; Qwen3-Next has recurrent and attending layers and experts."""
    return Gguf.read(DATA / name / "model-f32.gguf")


@pytest.fixture
def refused(tmp_path: Path) -> Refused:
    """Fails unless a file is refused by a ModelError that names it and says what is meant."""

    def check(file: Gguf | bytes, match: str) -> None:
        path = tmp_path / "spoiled.gguf"
        path.write_bytes(file if isinstance(file, bytes) else file.to_bytes())
        with pytest.raises(ModelError, match=match) as caught:
            open_model_file(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert ";" in str(caught.value), "a message ends with what to do"

    return check


@pytest.fixture
def accepted(tmp_path: Path) -> Callable[[Gguf], None]:
    """Fails unless a file is accepted."""

    def check(file: Gguf) -> None:
        open_model_file(file.write(tmp_path / "sound.gguf"))

    return check
