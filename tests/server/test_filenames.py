"""Names that clients may give to files."""

from __future__ import annotations

import pytest

from pannier.errors import RequestError
from pannier.server.filenames import check_filename, is_filename

GOOD = ["a", "slot.bin", ".hidden", "two words", "é", "x" * 255, "a.b.c", "-"]
BAD = [
    *("", ".", "..", "a..b", "../a", "/etc/passwd", "a/b", "a\\b", "C:a", "a*", "a?"),
    *('a"', "a<", "a|", " a", "a ", "a.", "a\x00", "a\n", "a\x7f", "a\x85", "\ufeffa"),
    *("\ufffd", "\uff0e\uff0e", "a\u2215b", "a\u2216b", "\ud800", "x" * 256, "é" * 128),
]


@pytest.mark.parametrize("name", GOOD)
def test_good(name: str) -> None:
    assert is_filename(name)
    check_filename(name)


@pytest.mark.parametrize("name", BAD)
def test_bad(name: str) -> None:
    assert not is_filename(name)
    with pytest.raises(RequestError, match="Invalid filename"):
        check_filename(name)
