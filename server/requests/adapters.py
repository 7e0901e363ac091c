"""How strong an adapter is: a field of completions, and a row of `/lora-adapters`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from .base import RequestBody
from .types import Natural, Number

MAX_SCALE = 100
"""Far beyond what changes a text for the better. Keys and values that overflow would be the end of
other clients' answers too: a masked cell of the cache counts nothing only if it is a number."""


class AdapterScale(RequestBody):
    """A LoRA adapter and its scale."""

    id: Natural
    """Its number, as `/lora-adapters` shows it."""
    scale: Annotated[float, Number(-MAX_SCALE, MAX_SCALE)] = 0.0
    """What its change of the weights is multiplied by; 0: it is not used."""


def scales_of(rows: Iterable[AdapterScale]) -> dict[int, float]:
    """By id; of several for one, the last."""
    return {row.id: row.scale for row in rows}
