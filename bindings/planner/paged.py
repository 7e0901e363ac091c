"""What a configuration reads from the disk, where system memory has no room for its weights."""

from __future__ import annotations

from ..paging import Paging
from .budget import HOST, Budget
from .cost import Cost
from .facts import ModelFacts


def paging_of(
    cost: Cost, facts: ModelFacts, budgets: tuple[Budget, ...], seconds: float | None = None
) -> Paging | None:
    """Of weights that are mapped, beside what has to be in system memory. None if they fit, or
    nobody said how much of that there is."""
    room = sum(one.usable_bytes for one in budgets if one.device == HOST) - cost.used_bytes(HOST)
    mapped = cost.mapped_bytes()
    if mapped <= room or HOST not in [one.device for one in budgets]:
        return None
    return Paging(
        weight_bytes=mapped,
        room_bytes=max(0, room),
        expert_bytes=cost.expert_bytes.get(HOST, 0),
        other_bytes=cost.weight_bytes.get(HOST, 0),
        used_fraction=facts.used_fraction,
        seconds=seconds,
    )
