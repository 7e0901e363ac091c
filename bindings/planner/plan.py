"""A plan: a configuration that fits, and what there is to say about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ..memory import KINDS
from ..paging import Paging
from ..server.config import EngineConfig
from ..tensor_listing import TensorListing
from .arguments import flags_between, serve_arguments
from .budget import HOST
from .choices import Choice
from .cost import Cost
from .placing import Placed
from .speed import MAPPED_MODES, Bandwidths
from .wish import Wish


@dataclass(frozen=True)
class Plan:
    """What to start a server with."""

    wish: Wish
    config: EngineConfig
    cost: Cost
    seconds: float
    """Time of a token by the model of `speed.py`."""
    given_up: tuple[str, ...]
    choices: tuple[Choice, ...]
    next_client: Cost | None
    """The cost with one client more."""
    ways: tuple[Placed, ...] = ()
    """Other places for the experts around the same context, this one among them, the fastest
    first by `seconds`; none where there is no choice."""
    misplaced: tuple[str, ...] = ()
    """What would not run where it is placed, which a strict server refuses."""
    paging: Paging | None = None
    """Not None if system memory has no room for the weights that are there."""
    bandwidths: Bandwidths = field(default_factory=Bandwidths)
    """What `seconds` is reckoned with."""
    trace: str = ""
    """The trace by which a cache's hits are known; empty: they are assumed."""
    notes: tuple[str, ...] = ()
    """Where rows of overrides disagree."""
    tensors: TensorListing | None = None
    """Where each tensor goes, if that was asked for."""

    @property
    def devices(self) -> tuple[str, ...]:
        """Those that hold something, or may; system memory is the last one."""
        names = dict.fromkeys(budget.device for budget in self.wish.devices)
        names |= dict.fromkeys(row.device for row in self.cost.rows if row.device != HOST)
        return (*names, HOST)

    def placed_as(self, way: Placed) -> Plan:
        """The same with one of its ways. What was given up and would be cheaper is the plan's."""
        return replace(self, config=way.config, cost=way.cost, seconds=way.seconds)

    @property
    def arguments(self) -> tuple[str, ...]:
        """What follows `pannier serve` to get exactly this, and nothing else in silence."""
        strict = ("--strict",) if self.wish.devices and not self.misplaced else ()
        return (*serve_arguments(self.config), *strict)

    @property
    def assumed(self) -> tuple[str, ...]:
        """Rates that count here and are not this machine's own."""
        names = [one.type for one in self.wish.devices if self.cost.used_bytes(one.device)]
        if names and self.cost.expert_bytes.get(HOST):
            names.append("sync_s")
        if self.config.moe_cache_mib:
            is_mapped = self.config.load_mode in MAPPED_MODES
            names.append("link_mapped" if is_mapped else "link")
        if self.paging:
            names.append("disk")
        return tuple(
            name for name in dict.fromkeys(("cpu", *names)) if name not in self.bandwidths.measured
        )

    def device_row(self, device: str) -> dict[str, Any]:
        """Bytes by kind on one device, their sum, and its budget if it has one."""
        budget = next((one for one in self.wish.budgets if one.device == device), None)
        return {
            "device": device,
            **{f"{kind}_bytes": self.cost.kind_bytes(kind, device) for kind in KINDS},
            "total_bytes": sum(self.cost.kind_bytes(kind, device) for kind in KINDS),
            "headroom_bytes": budget.headroom_bytes if budget else 0,
            "limit_bytes": budget.limit_bytes if budget else None,
            "left_bytes": budget.usable_bytes - self.cost.used_bytes(device) if budget else None,
        }

    def per_client(self) -> dict[str, Any]:
        """What one more client costs: its cells, its state, the planes of rollback; and the
        difference that the engine gives for all of it, compute and output included."""
        cost, n = self.cost, self.config.n_parallel
        n_cells = cost.n_ctx // n
        more = self.next_client
        return {
            "n_cells": n_cells,
            "cells_bytes": n_cells * cost.kv_cell_bytes,
            "window_bytes": cost.window_bytes,
            "state_bytes": cost.state_bytes,
            "rollback_bytes": cost.n_rollback * cost.state_bytes,
            "total_bytes": sum(row.bytes for row in more.rows) - sum(row.bytes for row in cost.rows)
            if more
            else None,
        }

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; sizes in bytes."""
        config = self.config
        return {
            "model": config.model,
            "prefer": self.wish.prefer,
            "arguments": list(self.arguments),
            "n_ctx": self.cost.n_ctx,
            "n_parallel": config.n_parallel,
            "n_sequences": self.cost.n_sequences,
            "cache_type_k": config.cache_type_k,
            "cache_type_v": config.cache_type_v,
            "n_batch": config.n_batch,
            "n_ubatch": config.n_ubatch,
            "n_gpu_layers": config.n_gpu_layers,
            "tensor_split": list(config.tensor_split),
            "experts": config.experts,
            "tensor_overrides": [list(row) for row in config.tensor_overrides],
            "moe_cache_mib": config.moe_cache_mib,
            "rows": [asdict(row) for row in self.cost.rows],
            "devices": [self.device_row(device) for device in self.devices],
            "host_memory": self.cost.host_memory.as_dict(),
            "per_client": self.per_client(),
            "estimated_tokens_per_second": 1 / self.seconds if self.seconds else None,
            "paging": self.paging.as_dict() if self.paging else None,
            "ways": [
                {
                    "experts": way.kind,
                    "arguments": list(flags_between(self.wish.config, way.config)),
                    "estimated_tokens_per_second": 1 / way.seconds if way.seconds else None,
                }
                for way in self.ways
            ],
            "rates": asdict(self.bandwidths) | {"measured": sorted(self.bandwidths.measured)},
            "rates_assumed": list(self.assumed),
            "trace": self.trace,
            "given_up": list(self.given_up),
            "misplaced": list(self.misplaced),
            "notes": list(self.notes),
            "choices": [asdict(choice) for choice in self.choices],
            **({"tensors": asdict(self.tensors)} if self.tensors else {}),
        }
