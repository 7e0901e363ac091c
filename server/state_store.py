"""Saved states of sequences: in memory, or in files that outlive the process.

A file holds one state: a line of JSON, the tokens, the state, a digest of all three. It is written
beside its name and renamed; what does not fit its digest is deleted and never used.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterator
from pathlib import Path

from ..errors import PannierError
from ..part import part_of, sweep_parts

SUFFIX = ".state"
PART = "state"
FORMAT = 1
DIGEST_BYTES = 16


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

    def found(self) -> Iterator[tuple[list[int], Path]]:
        """Tokens and files of this identity, newest first. Damaged ones are deleted."""
        if self.directory is None:
            return
        files = [p for p in self.directory.glob(f"{self.identity}-*{SUFFIX}") if p.is_file()]
        for path in sorted(files, key=lambda p: p.stat().st_mtime, reverse=True):
            try:
                yield _read_tokens(path), path
            except (OSError, ValueError, KeyError):
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
            return _read_state(self._files[key])
        except (OSError, ValueError, KeyError) as error:
            raise PannierError(f"a saved state cannot be used: {error}") from error

    def forget(self, key: int) -> None:
        """Delete a state; nothing happens if there is none."""
        self._in_memory.pop(key, None)
        path = self._files.pop(key, None)
        if path is not None:
            path.unlink(missing_ok=True)

    def _write(self, tokens: tuple[int, ...], state: bytes) -> Path:
        assert self.directory is not None
        raw = array("i", tokens).tobytes()
        name = hashlib.sha256(raw).hexdigest()[:24]
        path = self.directory / f"{self.identity}-{name}{SUFFIX}"
        header = {"format": FORMAT, "n_tokens": len(tokens), "state_bytes": len(state)}
        line = json.dumps(header).encode() + b"\n"
        part = part_of(path.parent, PART)
        try:
            with part.open("wb") as file:
                for data in (line, raw, state, _digest(line, raw, state)):
                    file.write(data)
            part.replace(path)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        return path


def _digest(*parts: bytes) -> bytes:
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        digest.update(part)
    return digest.digest()


def _read_tokens(path: Path) -> list[int]:
    with path.open("rb") as file:
        line = file.readline(4096)
        header = json.loads(line)
        n_tokens, state_bytes = header["n_tokens"], header["state_bytes"]
        expected = len(line) + 4 * n_tokens + state_bytes + DIGEST_BYTES
        if header["format"] != FORMAT or path.stat().st_size != expected:
            raise ValueError("not a whole state file")
        tokens = array("i", file.read(4 * n_tokens))
    return list(tokens)


def _read_state(path: Path) -> bytes:
    data = path.read_bytes()
    end = data.index(b"\n") + 1
    header = json.loads(data[:end])
    start = end + 4 * header["n_tokens"]
    tokens, state, digest = data[end:start], data[start:-DIGEST_BYTES], data[-DIGEST_BYTES:]
    if len(state) != header["state_bytes"] or digest != _digest(data[:end], tokens, state):
        raise ValueError(f"{path.name} does not fit its digest")
    return state
