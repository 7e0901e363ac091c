"""How fast a disk gives the experts of a file: blocks of their size from all over it."""

from __future__ import annotations

import mmap
import os
import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

BLOCK_BYTES = 512 << 10
N_READERS = 8
MOST_BYTES = 256 << 20
MOST_S = 0.5


def disk_rate(path: Path, most_s: float = MOST_S) -> float | None:
    """Bytes per second, read past the page cache; None where that cannot be done.

    Reads for at most so many seconds, and at most 256 MiB.
    """
    n_blocks = path.stat().st_size // BLOCK_BYTES
    blocks = random.sample(range(n_blocks), min(n_blocks, MOST_BYTES // BLOCK_BYTES))
    try:
        file = os.open(path, os.O_RDONLY | os.O_DIRECT)
    except (OSError, AttributeError):  # a file system without it; not Linux
        return None
    try:
        return _rate(file, blocks, most_s)
    except OSError:
        return None
    finally:
        os.close(file)


def _rate(file: int, blocks: Sequence[int], most_s: float) -> float | None:
    start = time.perf_counter()
    end = start + most_s

    def read(mine: Sequence[int]) -> int:
        with mmap.mmap(-1, BLOCK_BYTES) as page:  # aligned, as such reads want it
            n_bytes = 0
            for block in mine:
                if time.perf_counter() > end:
                    break
                n_bytes += os.preadv(file, [page], block * BLOCK_BYTES)
            return n_bytes

    with ThreadPoolExecutor(N_READERS) as readers:
        total = sum(readers.map(read, [blocks[i::N_READERS] for i in range(N_READERS)]))
    return total / (time.perf_counter() - start) if total else None
