"""The pin."""

from __future__ import annotations

import re
from pathlib import Path

import pannier.third_party
from pannier.third_party import LLAMA_CPP

FOLDER = Path(pannier.third_party.__path__[0])


def test_the_pin_is_complete() -> None:
    assert re.fullmatch(r"[0-9a-f]{64}", LLAMA_CPP.sha256)
    assert LLAMA_CPP.archive_name == f"{LLAMA_CPP.package}-{LLAMA_CPP.version}.tar.gz"
    assert LLAMA_CPP.requirement.endswith(f"--hash=sha256:{LLAMA_CPP.sha256}")
    assert LLAMA_CPP.version.endswith(str(LLAMA_CPP.build_number))


def test_the_licence_is_beside_it_and_nothing_else_is() -> None:
    assert "MIT License" in (FOLDER / "LICENSE.llama.cpp").read_text()
    names = {path.name for path in FOLDER.iterdir()} - {"__pycache__"}
    assert names == {"__init__.py", "LICENSE.llama.cpp"}
