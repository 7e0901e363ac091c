"""Arrays of strings: guessed windows and walked chains give the same, and uniqueness is exact."""

from __future__ import annotations

import mmap
import random
from pathlib import Path

import pytest

from pannier.modelfile.arrays import StringArray
from pannier.modelfile.strings import read_strings
from pannier.modelfile.uniqueness import first_duplicate

from .gguf_bytes import string

ALPHABET = [bytes([byte]) for byte in range(1, 256)]


def texts(rng: random.Random, n: int) -> list[bytes]:
    """Mostly short words; some empty, some long, some with zeros, as a hostile file may have."""
    odd = (b"", b"\0", b"\0" * 9, b"a\0b", bytes(8) + b"x", b"y" * 255, b"z" * 256, b"w" * 70000)
    rare = rng.choice((0.0, 0.001, 0.05))
    return [
        rng.choice(odd)
        if rng.random() < rare
        else rng.randbytes(rng.randrange(1, 24)).replace(b"\0", b"0")
        for _ in range(n)
    ]


def array_of(strings: list[bytes], path: Path, tail: bytes = b"") -> tuple[StringArray, int]:
    data = b"head" + b"".join(map(string, strings)) + tail
    path.write_bytes(data)
    with path.open("rb") as file:
        view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return read_strings(view, 4, len(strings), len(data))


@pytest.mark.parametrize("seed", range(20))
def test_reads_any_chain(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    strings = texts(rng, rng.choice((1, 10, 30000)))
    tail = rng.choice((b"", bytes(100), string(b"next.key") + bytes(8)))
    array, end = array_of(strings, tmp_path / "strings", tail)
    assert [array.raw(i) for i in range(len(array))] == strings
    assert end == 4 + sum(8 + len(text) for text in strings)
    assert array.has_nul >= any(b"\0" in text for text in strings)


@pytest.mark.parametrize("at", [0, 5, 29999])
def test_names_the_string_that_does_not_end(at: int, tmp_path: Path) -> None:
    strings = [b"word"] * 30000
    data = bytearray(b"head" + b"".join(map(string, strings)))
    data[4 + 12 * at : 12 + 12 * at] = (2**63).to_bytes(8, "little")
    path = tmp_path / "strings"
    path.write_bytes(data)
    with path.open("rb") as file:
        view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    with pytest.raises(ValueError, match=f"^{at}$"):
        read_strings(view, 4, len(strings), len(data))


@pytest.mark.parametrize("seed", range(20))
def test_finds_the_string_that_stands_twice(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    strings = sorted(
        {rng.randbytes(rng.randrange(1, 40)).replace(b"\0", b"0") for _ in range(5000)}
    )
    rng.shuffle(strings)
    assert first_duplicate(array_of(strings, tmp_path / "strings")[0]) is None
    first, second = sorted(rng.sample(range(len(strings)), 2))
    strings[second] = strings[first]
    assert first_duplicate(array_of(strings, tmp_path / "strings")[0]) == (first, second)


def test_strings_alike_in_what_is_hashed_are_told_apart(tmp_path: Path) -> None:
    strings = [b"12345678" + bytes([48 + i]) * 40 + b"87654321" for i in range(70)]
    strings += [
        b"begin678" + b"x" * 8 + bytes([48 + i]) * 6 + b"y" * 8 + b"end54321" for i in range(70)
    ]
    assert first_duplicate(array_of(strings, tmp_path / "strings")[0]) is None


def test_a_string_ends_at_its_zero_byte(tmp_path: Path) -> None:
    """For C `a` and `a\\0b` are the same token, and the empty one is named by its number."""
    assert first_duplicate(array_of([b"a", b"b", b"a\0b"], tmp_path / "strings")[0]) == (0, 2)
    assert first_duplicate(array_of([b"", b"", b"\0x"], tmp_path / "strings")[0]) is None
    assert first_duplicate(array_of([b"[EMPTY_1]", b""], tmp_path / "strings")[0]) == (0, 1)
