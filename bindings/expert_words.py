"""The words that say where routed experts go: `cpu`, `gpu`, `auto`, `cpu:0-23`, `gpu:24-47`.

`cpu:0-3,8` is CPU memory for the experts of these layers and the GPU for those of the others,
`gpu:24-47` the reverse. Rows between `|` say several things at once, `cpu:0-23|gpu:24-47`; one
without layers is for those that no other row names, `gpu|cpu:0-3`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from .errors import ArgumentError
from .layer_ranges import layers_text, ranges_text, read_layers

ExpertsOn = Literal["cpu", "gpu", "auto"]
Place = Literal["cpu", "gpu"]
PLACES: tuple[Place, ...] = get_args(Place)
FORMS = "cpu, gpu, auto, cpu:0-23, gpu:24-47, or rows of these between |"
_BLOCK = re.compile(r"blk\.(\d+)\.")


@dataclass(frozen=True)
class LayerRow:
    """The experts of some layers on one device."""

    device: Place
    layers: frozenset[int]

    def __str__(self) -> str:
        return f"{self.device}:{ranges_text(self.layers)}"


@dataclass(frozen=True)
class ExpertWords:
    """Where experts go: by layer, and on `rest` where no row names the layer."""

    rows: tuple[LayerRow, ...] = ()
    rest: ExpertsOn | None = None
    """None: each layer with experts has to be in a row."""

    def by_layer(self, layers: Iterable[int]) -> dict[Place, frozenset[int]]:
        """Layers by device, of those that have experts; not for "auto".

        Raises ArgumentError for a layer without experts, and for one in no row.
        """
        have = frozenset(layers)
        found: dict[Place, frozenset[int]] = dict.fromkeys(PLACES, frozenset())
        for row in self.rows:
            if lacking := row.layers - have:
                raise ArgumentError(
                    f"experts {row}: {layers_text(lacking)} of this model "
                    f"{'has' if len(lacking) == 1 else 'have'} no routed experts; {_having(have)}"
                )
            found[row.device] |= row.layers
        left = have - found["cpu"] - found["gpu"]
        if left and self.rest is None:
            raise ArgumentError(
                f"experts {'|'.join(map(str, self.rows))}: {layers_text(left)} "
                f"{'has' if len(left) == 1 else 'have'} experts and no row; name the layers, or "
                "add a row without layers for all others, as cpu"
            )
        if self.rest in PLACES:
            found[self.rest] |= left
        return found


def _having(have: frozenset[int]) -> str:
    return f"experts are in {layers_text(have)}" if have else "no layer has: leave it out"


def parse_experts(text: str) -> ExpertWords:
    """What the words say. Raises ArgumentError."""
    rows, rest = [], None
    for part in text.split("|"):
        device, colon, layers = part.strip().partition(":")
        if device not in get_args(ExpertsOn) or (device == "auto" and text.strip() != "auto"):
            raise ArgumentError(f"experts is {text!r}, with {part.strip()!r}: it must be {FORMS}")
        if colon:
            rows.append(LayerRow(device, read_layers(layers)))  # type: ignore[arg-type]
        elif rest not in (None, device):
            raise ArgumentError(f"experts is {text!r}: all others go to {rest} and to {device}")
        else:
            rest = device
    _check_agreement(text, rows)
    if rest is None and len({row.device for row in rows}) == 1:
        rest = "gpu" if rows[0].device == "cpu" else "cpu"
    return ExpertWords(tuple(rows), rest)  # type: ignore[arg-type]


def _check_agreement(text: str, rows: list[LayerRow]) -> None:
    """No layer may be told to go to two devices."""
    for i, row in enumerate(rows):
        for other in rows[:i]:
            if (twice := row.layers & other.layers) and row.device != other.device:
                raise ArgumentError(
                    f"experts is {text!r}: {layers_text(twice)} in {other} and in {row}; leave "
                    "it out of one of them"
                )


def expert_layers(names: Iterable[str], pattern: str) -> tuple[int, ...]:
    """The layers that have tensors of routed experts, whose names `pattern` finds."""
    found = (_BLOCK.match(name) for name in names if re.search(pattern, name))
    return tuple(sorted({int(match[1]) for match in found if match}))
