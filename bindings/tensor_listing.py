"""Which tensors a row of overrides takes, and where they really go."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .layer_ranges import ranges_text
from .memory import MemoryRow, TensorRow
from .override_rows import OverrideRow, matching

_BLOCK = re.compile(r"^blk\.(\d+)\.")
WITHOUT_ROW = "no row"


@dataclass(frozen=True)
class TensorGroup:
    """Tensors that differ by their layer only, in buffers of one type."""

    name: str
    """As `blk.{0-23}.ffn_up_exps.weight`."""
    n_tensors: int
    bytes: int
    device: str
    buffer_type: str


@dataclass(frozen=True)
class ListedRow:
    """A row of overrides with what goes by it; the last one is of the tensors without a row."""

    source: str
    pattern: str
    buffer: str | None
    n_matching: int
    """Names that match, those that go by a row before it included."""
    groups: tuple[TensorGroup, ...]

    @property
    def n_tensors(self) -> int:
        return sum(group.n_tensors for group in self.groups)

    @property
    def bytes(self) -> int:
        return sum(group.bytes for group in self.groups)


@dataclass(frozen=True)
class BufferSum:
    """All weights in buffers of one type."""

    device: str
    buffer_type: str
    tensor_bytes: int
    padding_bytes: int
    """What buffers have between and behind tensors, and a mapping of tensors that are elsewhere."""

    @property
    def bytes(self) -> int:
        """As the plan has it."""
        return self.tensor_bytes + self.padding_bytes


@dataclass(frozen=True)
class TensorListing:
    """All tensors of a model, by row and by buffer."""

    rows: tuple[ListedRow, ...]
    buffers: tuple[BufferSum, ...]


def list_tensors(
    rows: Sequence[OverrideRow], tensors: Sequence[TensorRow], memory: Iterable[MemoryRow]
) -> TensorListing:
    """What each row takes of a model's tensors; `memory` has what its buffers hold."""
    names = [tensor.name for tensor in tensors]
    found = [matching(row.pattern, names) for row in rows]
    taken: dict[int, list[TensorRow]] = defaultdict(list)
    for tensor in tensors:
        first = (i for i, matches in enumerate(found) if tensor.name in matches)
        taken[next(first, len(rows))].append(tensor)
    listed = [
        ListedRow(row.source, row.pattern, row.buffer, len(found[i]), _groups(taken[i]))
        for i, row in enumerate(rows)
    ]
    left = _groups(taken[len(rows)])
    listed.append(ListedRow(WITHOUT_ROW, "", None, sum(one.n_tensors for one in left), left))
    return TensorListing(tuple(listed), _sums(tensors, memory))


def _groups(tensors: Iterable[TensorRow]) -> tuple[TensorGroup, ...]:
    kinds: dict[tuple[str, str, str], list[TensorRow]] = defaultdict(list)
    for tensor in tensors:
        kinds[_BLOCK.sub("blk.*.", tensor.name), tensor.device, tensor.buffer_type].append(tensor)
    return tuple(
        TensorGroup(_named(kind, members), len(members), sum(t.bytes for t in members), *where)
        for (kind, *where), members in sorted(kinds.items())
    )


def _named(kind: str, members: Iterable[TensorRow]) -> str:
    layers = {int(match[1]) for one in members if (match := _BLOCK.match(one.name))}
    text = ranges_text(layers)
    return kind.replace("blk.*.", f"blk.{text if text.isdecimal() else f'{{{text}}}'}.", 1)


def _sums(tensors: Iterable[TensorRow], memory: Iterable[MemoryRow]) -> tuple[BufferSum, ...]:
    held: Counter[tuple[str, str]] = Counter()
    for tensor in tensors:
        held[tensor.device, tensor.buffer_type] += tensor.bytes
    whole = _weights(memory)
    return tuple(
        BufferSum(*where, held[where], whole[where] - held[where]) for where in sorted(whole)
    )


def _weights(memory: Iterable[MemoryRow]) -> Mapping[tuple[str, str], int]:
    sums: Counter[tuple[str, str]] = Counter()
    for row in memory:
        if row.kind == "weights":
            sums[row.device, row.buffer_type] += row.bytes
    return sums
