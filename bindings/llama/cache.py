"""Caches of states under llama-cpp-python's names.

The engine keeps prefixes by itself, for all calls of one Llama and, with `prefix_cache_dir`, on
disk. These are for code that hands one cache to several.
"""

from __future__ import annotations

import pickle
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path

from .position import LlamaState

Key = tuple[int, ...]
CAPACITY_BYTES = 2 << 30


class BaseLlamaCache(ABC):
    """States by the tokens that they are of. `cache[tokens]` is the one that shares the longest
    beginning with these tokens; KeyError if none shares any. Safe from several threads."""

    def __init__(self, capacity_bytes: int = CAPACITY_BYTES) -> None:
        self.capacity_bytes = capacity_bytes
        self._lock = threading.Lock()

    @property
    @abstractmethod
    def cache_size(self) -> int:
        """Bytes that the states take."""

    @abstractmethod
    def __getitem__(self, key: Sequence[int]) -> LlamaState: ...

    @abstractmethod
    def __setitem__(self, key: Sequence[int], value: LlamaState) -> None: ...

    def __contains__(self, key: Sequence[int]) -> bool:
        return self._find(key) is not None

    @abstractmethod
    def _keys(self) -> Iterable[Key]: ...

    def _find(self, key: Sequence[int]) -> Key | None:
        with self._lock:
            found = max(self._keys(), key=lambda one: n_common(one, key), default=None)
        return found if found is not None and n_common(found, key) else None


class LlamaRAMCache(BaseLlamaCache):
    """States in memory; those that were used last stay."""

    def __init__(self, capacity_bytes: int = CAPACITY_BYTES) -> None:
        super().__init__(capacity_bytes)
        self._states: OrderedDict[Key, LlamaState] = OrderedDict()

    @property
    def cache_size(self) -> int:
        return sum(map(n_bytes, self._states.values()))

    def _keys(self) -> Iterable[Key]:
        return tuple(self._states)

    def __getitem__(self, key: Sequence[int]) -> LlamaState:
        found = self._find(key)
        if found is None:
            raise KeyError("no state shares a beginning with these tokens")
        with self._lock:
            self._states.move_to_end(found)
            return self._states[found]

    def __setitem__(self, key: Sequence[int], value: LlamaState) -> None:
        with self._lock:
            self._states[tuple(key)] = value
            self._states.move_to_end(tuple(key))
            while self._states and self.cache_size > self.capacity_bytes:
                self._states.popitem(last=False)


LlamaCache = LlamaRAMCache


class LlamaDiskCache(BaseLlamaCache):
    """States in the files of a folder, which are trusted: they are pickled."""

    def __init__(self, cache_dir: str = ".cache/llama_cache", capacity_bytes: int = CAPACITY_BYTES):
        super().__init__(capacity_bytes)
        self._folder = Path(cache_dir)
        self._folder.mkdir(parents=True, exist_ok=True)

    @property
    def cache_size(self) -> int:
        return sum(path.stat().st_size for path in self._folder.glob("*.state"))

    def _keys(self) -> Iterable[Key]:
        return [pickle.loads(path.read_bytes()) for path in self._folder.glob("*.key")]

    def __getitem__(self, key: Sequence[int]) -> LlamaState:
        found = self._find(key)
        if found is None:
            raise KeyError("no state shares a beginning with these tokens")
        state: LlamaState = pickle.loads(self._path(found, "state").read_bytes())
        return state

    def __setitem__(self, key: Sequence[int], value: LlamaState) -> None:
        with self._lock:
            self._path(tuple(key), "state").write_bytes(pickle.dumps(value))
            self._path(tuple(key), "key").write_bytes(pickle.dumps(tuple(key)))
            oldest = sorted(self._folder.glob("*.state"), key=lambda path: path.stat().st_mtime_ns)
            for path in oldest:
                if self.cache_size <= self.capacity_bytes:
                    break
                path.unlink()
                path.with_suffix(".key").unlink()

    def _path(self, key: Key, suffix: str) -> Path:
        name = sha256(repr(key).encode()).hexdigest()[:32]
        return self._folder / f"{name}.{suffix}"


def n_common(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens at the beginning are the same."""
    n = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), None)
    return min(len(a), len(b)) if n is None else n


def n_bytes(state: LlamaState) -> int:
    """Of a state in memory."""
    return state.input_ids.nbytes + state.scores.nbytes + len(state.llama_state)
