"""Tiny models to spoil, and what must become of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

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


@pytest.fixture(scope="session")
def pannier(request: pytest.FixtureRequest) -> ModuleType:
    """The package with an engine loaded: the CPU's, or the one that PANNIER_ENGINE names."""
    import pannier
    from pannier import _ffi

    if "PANNIER_ENGINE" in os.environ:
        _ffi.library()
    else:
        _ffi.load(request.getfixturevalue("cpu_engine").library)
    return pannier


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
