"""Which system memory the weights have that are not on a device: as asked for, and as it is.

llama.cpp decides by the load mode for all weights at once. Rows of overrides in front of the
caller's say it by tensor; the buffer types are the boundary's (`native/host_memory.cpp`). They are
for tensors that would be in system memory anyhow, so where something is computed stays as it was.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from .errors import PlacementError
from .host_words import HOST_MODES, HostMode
from .layer_ranges import layers_pattern
from .memory import TensorRow
from .placement import Override
from .roles import ROLES, Role, role_of

BUFFERS: dict[HostMode, str] = {"mmap": "host:mapped", "lock": "host:mapped",
                                "pinned": "host:pinned", "copy": "host:copied"}  # fmt: skip
KINDS = ("mapped", "locked", "pinned", "copied", "repacked")
OBTAINED: dict[HostMode, str] = dict(zip(HOST_MODES, ("mapped", "pinned", "locked", "copied"),
                                         strict=True))  # fmt: skip
PAGE = 4096
"""What a tensor in pinned memory is rounded up to when it is held against a budget."""
_BLOCK = re.compile(r"^blk\.(\d+)\.(.*)")
_SPECIAL = re.compile(r"[.^$|()\[\]{}*+?\\]")


@dataclass(frozen=True)
class HostPlan:
    """What each tensor in system memory is to lie in."""

    modes: Mapping[str, HostMode] = field(default_factory=dict)
    """By name; tensors that are not there are as llama.cpp has them."""
    shared: Mapping[str, HostMode] = field(default_factory=dict)
    """The same of names that are on a device too, so that no row can mean the one."""

    @property
    def locked_names(self) -> list[str]:
        """Those to lock, a layer after the other."""
        return sorted((name for name, mode in self.modes.items() if mode == "lock"), key=_order)

    def overrides(self) -> list[Override]:
        """llama.cpp's rows: as few as there are kinds of memory and sets of layers."""
        layers: dict[tuple[str, str], set[int]] = defaultdict(set)
        rows: dict[tuple[str, str], list[str]] = defaultdict(list)
        for name, mode in self.modes.items():
            if match := _BLOCK.match(name):
                layers[BUFFERS[mode], match[2]].add(int(match[1]))
            else:
                rows["", BUFFERS[mode]].append(name)
        for (buffer, rest), numbers in layers.items():
            rows[layers_pattern(numbers) + r"\.", buffer].append(rest)
        return [
            (f"^{head}({'|'.join(_SPECIAL.sub(_escaped, name) for name in names)})$", buffer)
            for (head, buffer), names in rows.items()
        ]


def _escaped(match: re.Match[str]) -> str:
    return "\\" + match[0]


def plan_host_memory(
    wish: Mapping[Role, HostMode], pin_budget: int | None, tensors: Sequence[TensorRow]
) -> HostPlan:
    """What tensors are to lie in, of a model whose tensors go where these rows say.

    pin_budget: most bytes that may be pinned, layer by layer from the first; the rest is mapped.
    """
    on_device = {tensor.name for tensor in tensors if tensor.device != "CPU"}
    asked = {tensor.name: wish[role] for tensor in tensors
             if tensor.device == "CPU" and (role := role_of(tensor.name)) in wish}  # fmt: skip
    modes = {name: mode for name, mode in asked.items() if name not in on_device}
    if pin_budget is not None:
        pinned = [one for one in tensors if modes.get(one.name) == "pinned"]
        modes |= dict.fromkeys(_beyond(pinned, pin_budget), "mmap")
    return HostPlan(modes, {name: mode for name, mode in asked.items() if name in on_device})


def _beyond(tensors: Iterable[TensorRow], budget: int) -> Iterable[str]:
    """Names of the layers that a budget has no room for, and of all behind them."""
    in_order = sorted(tensors, key=lambda tensor: _order(tensor.name))
    for _, group in groupby(in_order, lambda tensor: _order(tensor.name)[0]):
        members = list(group)
        budget -= sum(-(-tensor.bytes // PAGE) * PAGE for tensor in members)
        if budget < 0:
            yield from (tensor.name for tensor in members)


def _order(name: str) -> tuple[float, str]:
    """Layers in their order, then what is in none."""
    match = _BLOCK.match(name)
    return (float(match[1]), name) if match else (float("inf"), name)


# ---------------------------------------------------------------- as it is


@dataclass(frozen=True)
class HostRow:
    """The weights of one role in system memory."""

    role: Role
    bytes: Mapping[str, int]
    """By what they lie in, all of `KINDS`: "mapped", "locked", "pinned", "copied", or "repacked"
    for the CPU's kernels, which no device reads."""
    missed_bytes: Mapping[str, int]
    """By what was asked for and is not so; empty if all is."""


@dataclass(frozen=True)
class HostMemory:
    """What the weights in system memory lie in, by role."""

    rows: tuple[HostRow, ...] = ()
    is_asked: bool = False
    """Somebody said what it should be."""

    def kind_bytes(self, kind: str) -> int:
        """Bytes of one of `KINDS`."""
        return sum(row.bytes[kind] for row in self.rows)

    @property
    def problems(self) -> tuple[str, ...]:
        """What was asked for and not obtained."""
        reasons = {
            "pinned": "the driver gave ordinary memory, or a device has a copy under the same name",
            "locked": "the system locks no more: raise `ulimit -l`",
        }
        missed: Counter[str] = Counter()
        for row in self.rows:
            missed.update(row.missed_bytes)
        return tuple(
            f"{n_bytes / 2**20:.1f} MiB of weights are not {kind}: "
            + reasons.get(kind, "a device has a copy under the same name")
            for kind, n_bytes in missed.items()
        )

    def check(self) -> None:
        """Raises PlacementError if there is a problem."""
        if self.problems:
            raise PlacementError("; and ".join(self.problems))

    def __str__(self) -> str:
        """One line, such as "experts 12.1 MiB pinned, 3.0 MiB mapped; embedding 1.0 MiB mapped"."""
        parts = []
        for row in self.rows:
            sizes = [f"{n / 2**20:.1f} MiB {kind}" for kind, n in row.bytes.items() if n]
            parts.append(f"{row.role} {', '.join(sizes)}")
        return "; ".join(parts)

    def as_dict(self) -> dict[str, dict[str, int]]:
        """JSON-ready: role to kind to bytes."""
        return {row.role: {f"{kind}_bytes": n for kind, n in row.bytes.items()}
                for row in self.rows}  # fmt: skip


def host_memory(tensors: Iterable[TensorRow], plan: HostPlan, locked: Iterable[str]) -> HostMemory:
    """What tensors lie in; `locked` are names of those that the system has locked."""
    locked = frozenset(locked)
    held: dict[Role, Counter[str]] = defaultdict(Counter)
    missed: dict[Role, Counter[str]] = defaultdict(Counter)
    for tensor in tensors:
        if tensor.device != "CPU":
            continue
        kind, role = _kind(tensor, locked), role_of(tensor.name)
        held[role][kind] += tensor.bytes
        mode = plan.modes.get(tensor.name) or plan.shared.get(tensor.name)
        wanted = OBTAINED[mode] if mode else kind
        if wanted != kind:
            missed[role][wanted] += tensor.bytes
    return HostMemory(
        tuple(
            HostRow(role, {kind: held[role][kind] for kind in KINDS}, dict(missed[role]))
            for role in ROLES
            if held[role]
        ),
        is_asked=bool(plan.modes or plan.shared),
    )


def _kind(tensor: TensorRow, locked: frozenset[str]) -> str:
    if tensor.buffer_type.endswith("_Mapped"):
        return "locked" if tensor.name in locked else "mapped"
    if tensor.buffer_type.endswith("_Host"):
        return "pinned"
    return "copied" if tensor.buffer_type == "CPU" else "repacked"
