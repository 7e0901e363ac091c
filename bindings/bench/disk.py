"""How fast a disk is read, past the page cache: from end to end, and in blocks at random places."""

from __future__ import annotations

import contextlib
import mmap
import os
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..errors import ArgumentError
from ..planner.machine import DiskRates

PAGE = 4096
"""Reads past the cache begin and end at multiples of this."""
CHUNK = 8 << 20
N_READERS = 8
FILE_BYTES = 1 << 30
SPARE_BYTES = 2 << 30
"""A file is written only where so much more is free."""


def measure_disk(
    where: Path,
    block_bytes: int,
    seconds: float,
    n_readers: int = N_READERS,
    n_bytes: int = FILE_BYTES,
) -> DiskRates:
    """Rates of the disk under a folder, by a file that is written there and taken away, or by one
    that is there. Raises ArgumentError where that cannot be."""
    with _file_of(where, n_bytes) as path:
        size = path.stat().st_size // PAGE * PAGE
        block = max(PAGE, min(block_bytes, size) // PAGE * PAGE)
        if not size:
            raise ArgumentError(f"{path} is too short to tell how fast the disk is")
        places = list(range(0, size - block + 1, block))
        random.shuffle(places)  # places of an earlier time may be in a cache below
        straight = [(at, min(CHUNK, size - at)) for at in range(0, size, CHUNK)]
        return DiskRates(
            folder=str(path.parent),
            sequential=_rate(path, straight, 1, seconds),
            blocks=_rate(path, [(at, block) for at in places], n_readers, seconds),
            block_bytes=block,
            n_readers=n_readers,
        )


@contextlib.contextmanager
def _file_of(where: Path, n_bytes: int) -> Iterator[Path]:
    """The file itself, or one in the folder for as long as this lasts."""
    if where.is_file():
        yield where
        return
    try:
        free = _free_bytes(where)
        if free < n_bytes + SPARE_BYTES:
            raise ArgumentError(
                f"{where} has {free >> 20} MiB free, too little for a file of {n_bytes >> 20} MiB "
                "to read: name a large file that is there, such as a model's"
            )
        with tempfile.NamedTemporaryFile(dir=where, prefix=".pannier-disk-") as file:
            _fill(file.fileno(), n_bytes)
            yield Path(file.name)
    except OSError as error:
        raise ArgumentError(f"cannot measure the disk of {where}: {error.strerror}") from error


def _free_bytes(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def _fill(descriptor: int, n_bytes: int) -> None:
    """With bytes that no disk can compress."""
    noise = os.urandom(CHUNK)
    for at in range(0, n_bytes, CHUNK):
        turn = at // CHUNK * PAGE % CHUNK  # no two chunks alike
        os.write(descriptor, (noise[turn:] + noise[:turn])[: n_bytes - at])
    os.fsync(descriptor)


def _rate(path: Path, reads: Sequence[tuple[int, int]], n_readers: int, seconds: float) -> float:
    """Bytes per second of reads of (place, size), dealt to several readers, until time is up."""
    end = time.monotonic() + seconds
    begin = time.monotonic()
    with ThreadPoolExecutor(n_readers) as pool:
        parts = [reads[i::n_readers] for i in range(n_readers)]
        counts = list(pool.map(lambda part: _read(path, part, end), parts))
    return sum(counts) / (time.monotonic() - begin)


def _read(path: Path, reads: Sequence[tuple[int, int]], end: float) -> int:
    """What one reader read."""
    if not reads:
        return 0
    count = 0
    with _uncached(path) as descriptor, mmap.mmap(-1, max(size for _, size in reads)) as memory:
        for at, size in reads:
            with memoryview(memory) as view:
                count += os.preadv(descriptor, [view[:size]], at)
            if time.monotonic() > end:
                break
    return count


@contextlib.contextmanager
def _uncached(path: Path) -> Iterator[int]:
    """A descriptor that reads past the page cache; where the file system has no such, one of a
    file that the cache was asked to forget."""
    flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)
    try:
        descriptor = os.open(path, flags | getattr(os, "O_DIRECT", 0))
    except OSError:
        descriptor = os.open(path, flags)
    try:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        yield descriptor
    finally:
        os.close(descriptor)
