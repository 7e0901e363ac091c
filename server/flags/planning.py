"""Flags of plans: what a server may take, and what to choose for."""

from __future__ import annotations

from typing import get_args

from ...planner.wish import Prefer
from .flag import Flag, value
from .values import one_of, sizes

PLANNING: tuple[Flag, ...] = (
    value("--vram", "start.vram", "SIZE,...", sizes,
          "most memory to take of each device, as 8G or 8G,6G, in their order; others are not "
          "used. What other flags leave open is chosen for it (default: no plan)", usual=True),
    value("--prefer", "start.prefer", "WHAT", one_of(*get_args(Prefer)),
          "what a plan chooses for: speed (weights on the devices), context or clients (default: "
          "speed)", usual=True),
    value("--trace", "start.trace", "FILE", str,
          "what `pannier trace` recorded of this model: how often a cache of experts has what is "
          "needed (default: as others measured with models of 512 experts)", usual=True),
)  # fmt: skip
