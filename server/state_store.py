"""Saved states of sequences: in memory, or in files that outlive the process.

A file holds one state; what does not fit its digest is deleted and never used.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator
from pathlib import Path

from ..errors import PannierError
from ..part import sweep_parts
from .state_file import PART, StateFile, read_states, read_tokens, write_states

SUFFIX = ".state"


class StateStore:
    """States by key. Keys are the caller's; `found` gives some to the files of earlier runs."""

    def __init__(self, directory: Path | None = None, identity: str = "") -> None:
        """`identity` tells states of this model, engine and cache layout from all others."""
        self.directory = directory
        self.identity = hashlib.sha256(identity.encode()).hexdigest()[:16]
        self._in_memory: dict[int, tuple[tuple[int, ...], bytes]] = {}
        self._files: dict[int, Path] = {}
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
            sweep_parts(directory, PART)

    @property
    def host_bytes(self) -> int:
        """Bytes of the states in memory."""
        return sum(len(state) for _, state in self._in_memory.values())

    @property
    def disk_bytes(self) -> int:
        """Bytes of the files of known states; one that somebody else deleted has none."""
        return sum(path.stat().st_size for path in self._files.values() if path.is_file())

    def found(self) -> Iterator[tuple[list[int], Path]]:
        """Tokens and files of this identity, newest first. Damaged ones are deleted."""
        if self.directory is None:
            return
        files = [p for p in self.directory.glob(f"{self.identity}-*{SUFFIX}") if p.is_file()]
        for path in sorted(files, key=lambda p: p.stat().st_mtime, reverse=True):
            try:
                yield read_tokens(path), path
            except (OSError, ValueError):
                path.unlink(missing_ok=True)

    def adopt(self, key: int, path: Path) -> None:
        """Know a file of an earlier run by this key."""
        self._files[key] = path

    def put(self, key: int, tokens: tuple[int, ...], state: bytes, *, to_disk: bool) -> None:
        """Keep a state. Raises OSError if it cannot be written."""
        if to_disk:
            self._files[key] = self._write(tokens, state)
        else:
            self._in_memory[key] = (tokens, state)

    def move_to_disk(self, key: int) -> None:
        """Write a state that is in memory, and free the memory. Raises OSError, KeyError."""
        tokens, state = self._in_memory.pop(key)
        self._files[key] = self._write(tokens, state)

    def get(self, key: int) -> bytes:
        """A state. Raises PannierError if it is not there or not what was written."""
        if key in self._in_memory:
            return self._in_memory[key][1]
        try:
            return read_states(self._files[key]).states[-1][1]
        except (OSError, ValueError, LookupError) as error:
            raise PannierError(f"a saved state cannot be used: {error}") from error

    def forget(self, key: int) -> None:
        """Delete a state; nothing happens if there is none."""
        self._in_memory.pop(key, None)
        path = self._files.pop(key, None)
        if path is not None:
            path.unlink(missing_ok=True)

    def _write(self, tokens: tuple[int, ...], state: bytes) -> Path:
        assert self.directory is not None
        name = hashlib.sha256(array("i", tokens).tobytes()).hexdigest()[:24]
        path = self.directory / f"{self.identity}-{name}{SUFFIX}"
        write_states(path, StateFile(self.identity, list(tokens), [(len(tokens), state)]))
        return path
