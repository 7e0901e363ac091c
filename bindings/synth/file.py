"""Writing a synthetic model: header first, then the weights as fast as the disk takes them."""

from __future__ import annotations

import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from ..convert.random_gguf import begin, padded, write_header
from ..errors import ArgumentError
from ..part import whole
from .blocks import Bytes
from .weights import Piece, Synthesis

OnProgress = Callable[[int, int, str], None]
"""Called with bytes written, bytes of the file, and the tensor at hand."""
_MOST_THREADS = 8


def write_model(
    path: Path, synthesis: Synthesis, on_progress: OnProgress | None = None, n_threads: int = 0
) -> Path:
    """Write the model beside `path` and rename it; the same bytes for the same synthesis.

    n_threads: that make random bytes; 0 is one per core, at most 8.

    Raises ArgumentError if the disk has no room for it.
    """
    with whole(path) as part:
        begin(part, synthesis.spec, synthesis.types, synthesis.file_type).close()
        check_room(path, padded(part.stat().st_size) + synthesis.n_weight_bytes)
        _append_weights(part, synthesis, on_progress, n_threads or default_threads())
    return path


def write_header_only(path: Path, synthesis: Synthesis) -> Path:
    """Write the model less its weights: as long as with them, and a hole where they would be."""
    with whole(path) as part:
        write_header(part, synthesis.spec, synthesis.types, synthesis.file_type)
    return path


def check_room(path: Path, n_bytes: int) -> None:
    """Raise ArgumentError if a file of so many bytes does not fit beside what is there."""
    free = shutil.disk_usage(path.parent).free
    if n_bytes > free:
        raise ArgumentError(
            f"{path.name} takes {n_bytes / 1e9:.1f} GB, and {path.parent.absolute()} has "
            f"{free / 1e9:.1f} GB free; make fewer layers (--layers), a header (--header-only), or "
            "write to another disk"
        )


def default_threads() -> int:
    """One per core, at most 8: no disk takes more."""
    return min(os.cpu_count() or 1, _MOST_THREADS)


def _append_weights(
    part: Path, synthesis: Synthesis, on_progress: OnProgress | None, n_threads: int
) -> None:
    with part.open("r+b") as file:
        begins = padded(file.seek(0, os.SEEK_END))
        end = begins + synthesis.n_weight_bytes
        file.seek(begins)
        for piece, data in _made_ahead(synthesis, n_threads):
            file.write(data.data)
            if piece.is_last:
                file.seek(padded(file.tell()))
            if on_progress:
                on_progress(file.tell(), end, piece.name)
        file.truncate(end)


def _made_ahead(synthesis: Synthesis, n_threads: int) -> Iterator[tuple[Piece, Bytes]]:
    """The pieces in order, each made by a thread while the ones before it are written."""
    pieces = synthesis.pieces()
    waiting: deque[tuple[Piece, Future[Bytes]]] = deque()
    with ThreadPoolExecutor(n_threads) as pool:
        try:
            while True:
                for piece in islice(pieces, 2 * n_threads - len(waiting)):
                    waiting.append((piece, pool.submit(synthesis.data, piece)))
                if not waiting:
                    return
                piece, future = waiting.popleft()
                yield piece, future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
