"""Whether a string stands twice in an array, without making 150,000 objects of it.

Each string gets a hash of its length, its first, middle and last eight bytes; equal strings have
equal hashes, so only those whose hash stands twice are compared.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .arrays import StringArray

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

_BLOCK = 1 << 13
"""Strings at a time: so that numpy's temporaries stay in memory that is there already."""
_FACTORS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)


def first_duplicate(strings: StringArray) -> tuple[int, int] | None:
    """Two indices with the same string as C sees it, or None.

    As in llama.cpp, a string ends at a zero byte, and an empty one is `[EMPTY_7]`.
    """
    if strings.has_nul or not strings.lengths.all():
        return _compare(strings, range(len(strings)))
    hashes = _hashes(strings)
    ordered = np.sort(hashes)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(twice):
        return None
    suspects = np.zeros(1 << 16, np.bool_)
    suspects[twice & np.uint64(0xFFFF)] = True
    return _compare(strings, np.flatnonzero(suspects[hashes & np.uint64(0xFFFF)]).tolist())


def _hashes(strings: StringArray) -> Words:
    begin = int(strings.starts[0]) - 8  # the eight bytes of a length come before each string
    end = int(strings.starts[-1] + strings.lengths[-1])
    words = np.ndarray((end - begin - 7,), "<u8", strings.data, begin, strides=(1,))
    hashes = np.empty(len(strings), np.uint64)
    for block in range(0, len(strings), _BLOCK):
        part = slice(block, block + _BLOCK)
        hashes[part] = _hashes_of(words, strings.starts[part] - begin, strings.lengths[part])
    return hashes


def _hashes_of(words: Words, starts: Ints, lengths: Ints) -> Words:
    last = words[starts + lengths - 8]
    # The last eight bytes of a shorter string begin in its length field.
    spare = (8 - np.minimum(lengths, 8)).astype(np.uint64) * np.uint64(8)
    hashes = (last >> spare << spare) * _FACTORS[0] + lengths.astype(np.uint64)
    long = np.flatnonzero(lengths > 8)
    starts, lengths = starts[long], lengths[long]
    hashes[long] += words[starts] * _FACTORS[1] + words[starts + (lengths - 8) // 2] * _FACTORS[2]
    mixed: Words = hashes ^ (hashes >> np.uint64(29))
    return mixed


def _compare(strings: StringArray, indices: range | list[int]) -> tuple[int, int] | None:
    seen: dict[bytes, int] = {}
    for index in indices:
        text = strings.raw(index).partition(b"\0")[0] or b"[EMPTY_%d]" % index
        if text in seen:
            return seen[text], index
        seen[text] = index
    return None
