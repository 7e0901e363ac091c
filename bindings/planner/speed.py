"""How fast a configuration decodes, told by the bytes that a token makes each device read.

A model and not a measurement: it ranks configurations of one model on one machine. Devices work one
after the other, so their times add up.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from ..server.config import EngineConfig
from .budget import HOST, Budget
from .cost import Cost
from .facts import ModelFacts
from .paged import paging_of

GB = 1_000_000_000
HITS = ((0.0, 0.0), (0.125, 0.67), (0.25, 0.81), (1.0, 1.0))
"""Share of the experts in the cache, and of the tokens' experts that are found there: measured by
others for least-recently-used caches of models with 512 experts."""


@dataclass(frozen=True)
class Bandwidths:
    """Bytes per second. The defaults are of a common desktop: a GPU of 400 GB/s, two channels of
    DDR5, PCIe 4.0 x16 as copies reach it, an NVMe disk."""

    gpu: float = 400 * GB
    igpu: float = 60 * GB
    cpu: float = 60 * GB
    link: float = 20 * GB
    disk: float = 3 * GB

    def of(self, type: str) -> float:
        """Of a device's own memory."""
        return {"gpu": self.gpu, "igpu": self.igpu}.get(type, self.cpu)


def seconds_per_token(
    cost: Cost,
    config: EngineConfig,
    facts: ModelFacts,
    budgets: tuple[Budget, ...],
    bandwidths: Bandwidths,
) -> float:
    """Time of one token for one client whose share of the context is half full."""
    types = {budget.device: budget.type for budget in budgets} | {HOST: "cpu"}
    total = 0.0
    for device, type in types.items():
        read = cost.weight_bytes.get(device, 0) + _sequence_bytes(cost, config, device)
        if device != HOST or not config.moe_cache_mib:
            read += int(cost.expert_bytes.get(device, 0) * facts.used_fraction)
        total += read / bandwidths.of(type)
    if config.moe_cache_mib:
        total += _cached_experts(cost, facts, bandwidths)
    paging = paging_of(cost, facts, budgets)
    return total + (paging.disk_bytes / bandwidths.disk if paging else 0.0)


def _sequence_bytes(cost: Cost, config: EngineConfig, device: str) -> int:
    """Half of a client's cells, and its state, read and written, as far as they are there."""
    kv = cost.kind_bytes("kv", device) // (2 * config.n_parallel)
    return kv + 2 * cost.kind_bytes("recurrent", device) // max(1, cost.n_sequences)


def _cached_experts(cost: Cost, facts: ModelFacts, bandwidths: Bandwidths) -> float:
    """Experts of system memory, read from the cache or copied into it."""
    on_host = cost.expert_bytes.get(HOST, 0)
    hits = hit_rate(cost.kind_bytes("moe_cache") / on_host) if on_host else 0.0
    read = on_host * facts.used_fraction
    return read * (hits / bandwidths.gpu + (1 - hits) / bandwidths.link)


def hit_rate(share: float) -> float:
    """Between the measured points, by a straight line."""
    for (x0, y0), (x1, y1) in pairwise(HITS):
        if share <= x1:
            return y0 + (y1 - y0) * (share - x0) / (x1 - x0)
    return 1.0
