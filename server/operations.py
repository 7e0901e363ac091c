"""What the scheduler asks of the context's memory, before the tokens of a step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fork:
    """Let an empty sequence share the first n tokens of another."""

    source: int
    target: int
    n: int


@dataclass(frozen=True, slots=True)
class Cut:
    """Keep the first n tokens of a sequence."""

    seq: int
    n: int


@dataclass(frozen=True, slots=True)
class Drop:
    """Empty a sequence."""

    seq: int


@dataclass(frozen=True, slots=True)
class Save:
    """Copy a sequence's state to the store under this key."""

    seq: int
    key: int
    tokens: tuple[int, ...]
    to_disk: bool


@dataclass(frozen=True, slots=True)
class Load:
    """Fill an empty sequence with a stored state."""

    key: int
    seq: int


@dataclass(frozen=True, slots=True)
class MoveToDisk:
    """Write a state that is in host memory to disk, and free the memory."""

    key: int


@dataclass(frozen=True, slots=True)
class Forget:
    """Delete a stored state."""

    key: int


Operation = Fork | Cut | Drop | Save | Load | MoveToDisk | Forget
