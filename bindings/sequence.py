"""One sequence of a context: what it holds, removing, copying, saving."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _ffi
from .memory import SequenceMemory

if TYPE_CHECKING:
    from .context import Context


class Sequence:
    """A view of one sequence. It owns nothing and lives as long as its context."""

    def __init__(self, context: Context, seq_id: int) -> None:
        self.context = context
        self.seq_id = seq_id

    def __repr__(self) -> str:
        return f"<Sequence {self.seq_id}>"

    def memory(self) -> SequenceMemory:
        """What the sequence holds now."""
        return self.context.sequence_memory(self.seq_id)[0]

    def range(self) -> tuple[int, int]:
        """Its first and last position; -1 where it is empty."""
        first, last = _ffi.int32(), _ffi.int32()
        self.context.call("seq_get_range", self.seq_id, _ffi.byref(first), _ffi.byref(last))
        return first.value, last.value

    def __len__(self) -> int:
        """Tokens that the sequence stands for: its last position plus one."""
        return self.range()[1] + 1

    def clear(self) -> None:
        """Remove everything."""
        self.remove()

    def remove(self, start: int = -1, end: int = -1) -> bool:
        """Remove positions [start, end); -1 is open.

        Returns False, with nothing changed, where the memory cannot: a recurrent
        state only goes back by its rollback planes, and never loses its middle.
        """
        removed = _ffi.int32()
        self.context.call("seq_remove", self.seq_id, start, end, _ffi.byref(removed))
        return bool(removed.value)

    def copy_to(self, other: int) -> Sequence:
        """Let sequence `other` share all of this one's state; what it held is removed first.

        In a unified cache no data moves: cells are shared (of a sliding window those that
        can still be seen), and a recurrent state is copied when one of the two decodes.
        """
        target = self.context.sequence(other)
        self.context.call("seq_copy", self.seq_id, other)
        return target

    def save(self) -> bytes:
        """The sequence's state, for `load` in a context of the same shape."""
        size = _ffi.size()
        self.context.call("seq_save", self.seq_id, None, 0, _ffi.byref(size))
        buffer = _ffi.buffer(size.value)
        self.context.call("seq_save", self.seq_id, buffer, size.value, _ffi.byref(size))
        return buffer.raw[: size.value]

    def load(self, state: bytes) -> None:
        """Replace the sequence by a saved state. Raises ArgumentError if it does not fit."""
        self.context.call("seq_load", self.seq_id, state, len(state))
