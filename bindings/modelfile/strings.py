"""Where the strings of an array are: each begins with its length, so they are a chain.

A vocabulary is a chain of 150,000 links, and walking it is most of what reading a header costs.
But lengths below 256 are one byte and seven zeros, and text has no zeros: so numpy finds all
places that look like a length, and a place counts only if the string before it ends there. That
is the walk's own rule, checked for a whole window at once. Where it fails, strings are walked.
"""

from __future__ import annotations

import mmap
import struct

import numpy as np
import numpy.typing as npt

from .arrays import StringArray

_SMALL, _LARGE = 1 << 12, 1 << 16
"""Bytes looked at in one go. What is larger than 128 KiB is new memory each time, page by page,
which takes longer than the work."""
_length_at = struct.Struct("<Q").unpack_from

Ints = npt.NDArray[np.int64]
_INDEX_OF_BYTE = np.uint64(0x0001020304050607)
"""Times 256 to the power of i, its highest byte is i."""
_NONE: Ints = np.empty(0, np.int64)


def read_strings(data: mmap.mmap, position: int, n: int, end: int) -> tuple[StringArray, int]:
    """The `n` strings from `position` on, and the position after them.

    The caller has made sure that 8 * n bytes fit. Raises ValueError with the number of the
    string that does not end before `end`.
    """
    starts = np.empty(n, np.int64)
    lengths = np.empty(n, np.int64)
    filled, has_nul, window, n_walk = 0, False, _LARGE, 8
    while filled < n:
        heads, sizes, nul = _guess(data, position, n - filled, min(end, position + window))
        if len(heads):
            window, n_walk = min(2 * window, _LARGE), 8
        else:  # a file in which guessing is of no use is walked
            heads, sizes, nul = _walk(data, position, min(n_walk, n - filled), end, filled)
            window, n_walk = _SMALL, 2 * n_walk
        starts[filled : filled + len(heads)] = heads + 8
        lengths[filled : filled + len(heads)] = sizes
        filled += len(heads)
        has_nul |= nul
        position = int(heads[-1] + 8 + sizes[-1])
    return StringArray(data, starts, lengths, has_nul), position


def _guess(data: mmap.mmap, position: int, n: int, end: int) -> tuple[Ints, Ints, bool]:
    """Positions and lengths of up to `n` strings before `end`, as far as they are certain."""
    if end - position < 16:
        return _NONE, _NONE, False
    window = np.frombuffer(data, np.uint8, end - position, position)
    zeros = window == 0
    runs = zeros[:-1] & zeros[1:]
    runs = runs[:-2] & runs[2:]
    runs = runs[:-3] & runs[3:]  # of seven
    heads = _places(runs)[:n] - 1
    if not len(heads) or heads[0] != 0:
        return _NONE, _NONE, False
    sizes = window[heads].astype(np.int64)
    ends = heads + sizes + 8
    linked = ends[:-1] == heads[1:]
    n = len(heads) if linked.all() else int(linked.argmin()) + 1
    if ends[n - 1] > len(window):
        n -= 1
    if not n:
        return _NONE, _NONE, False
    has_nul = bool(np.count_nonzero(zeros[: ends[n - 1]]) != 7 * n)
    return heads[:n] + position, sizes[:n], has_nul


def _places(marks: npt.NDArray[np.bool_]) -> Ints:
    """Where marks are: numpy's own way takes four times as long for one in fourteen.

    Lengths are at least eight bytes apart, so each word of eight has at most one mark, and a
    word is one of eight powers of 256.
    """
    words = np.zeros(-(-len(marks) // 8), "<u8")
    words.view(np.bool_)[: len(marks)] = marks
    marked = np.flatnonzero(words != 0)
    found = words[marked]
    if (found & (found - np.uint64(1))).any():  # zeros that are no length
        return np.flatnonzero(marks)
    return marked * 8 + (found * _INDEX_OF_BYTE >> np.uint64(56)).view(np.int64)


def _walk(data: mmap.mmap, position: int, n: int, end: int, first: int) -> tuple[Ints, Ints, bool]:
    """Positions and lengths of `n` strings, one after the other."""
    heads, sizes, has_nul = [], [], False
    for i in range(n):
        if position + 8 > end:
            raise ValueError(first + i)
        (size,) = _length_at(data, position)
        if size > end - position - 8:
            raise ValueError(first + i)
        heads.append(position)
        sizes.append(size)
        position += 8 + size
        has_nul = has_nul or data.find(b"\0", position - size, position) >= 0
    return np.array(heads, np.int64), np.array(sizes, np.int64), has_nul
