"""How fast a configuration decodes, told by the bytes that a token makes each device read.

A model and not a measurement: it ranks configurations of one model on one machine. Devices work one
after the other, so their times add up; what experts take is in `roofline.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from ..host_words import parse_host_memory
from ..server.config import EngineConfig
from .budget import HOST, Budget
from .cost import Cost
from .facts import ModelFacts
from .paged import paging_of
from .roofline import TokenExperts, seconds_cached, seconds_on_cpu

GB = 1_000_000_000
HitCurve = tuple[tuple[float, float], ...]
"""Share of the experts in the cache, and of the tokens' experts that are found there, rising from
(0, 0) to (1, 1)."""
HITS: HitCurve = ((0.0, 0.0), (0.125, 0.67), (0.25, 0.81), (1.0, 1.0))
"""Measured by others for least-recently-used caches of models with 512 experts; a trace has the
model's own (`routing/hit_curve.py`)."""
MAPPED_MODES = frozenset({"auto", "mmap", "mlock", "mmap+mlock"})
"""Ways to load with which weights in system memory are pages of the file: no driver pins those."""


@dataclass(frozen=True)
class Bandwidths:
    """Bytes per second. The defaults are of a common desktop: a GPU of 400 GB/s, two channels of
    DDR5, PCIe 4.0 x16 as copies reach it, an NVMe disk."""

    gpu: float = 400 * GB
    igpu: float = 60 * GB
    cpu: float = 60 * GB
    link: float = 20 * GB
    """To a device from pinned memory."""
    link_mapped: float = 10 * GB
    """From pages of the file, which go through a pinned buffer of the driver's."""
    disk: float = 3 * GB
    sync_s: float = 20e-6
    """Seconds that the CPU waits for a device, and the device for the CPU, once."""
    measured: frozenset[str] = frozenset()
    """Names of those that are this machine's own; the others are assumed."""

    def of(self, type: str) -> float:
        """Of a device's own memory."""
        return {"gpu": self.gpu, "igpu": self.igpu}.get(type, self.cpu)

    def link_of(self, config: EngineConfig) -> float:
        """By which experts in system memory reach a device."""
        if config.host_memory is not None:
            mode = parse_host_memory(config.host_memory).get("experts", "mmap")
            return self.link if mode == "pinned" else self.link_mapped
        return self.link_mapped if config.load_mode in MAPPED_MODES else self.link


def seconds_per_token(
    cost: Cost,
    config: EngineConfig,
    facts: ModelFacts,
    budgets: tuple[Budget, ...],
    bandwidths: Bandwidths,
    hits: HitCurve = HITS,
) -> float:
    """Time of one token for one client whose share of the context is half full."""
    types = {budget.device: budget.type for budget in budgets} | {HOST: "cpu"}
    total = 0.0
    for device, type in types.items():
        read = cost.weight_bytes.get(device, 0) + _sequence_bytes(cost, config, device)
        if device != HOST:
            read += int(cost.expert_bytes.get(device, 0) * facts.used_fraction)
        total += read / bandwidths.of(type)
    total += _host_experts(cost, config, facts, bandwidths, hits)
    paging = paging_of(cost, facts, budgets)
    return total + (paging.disk_bytes / bandwidths.disk if paging else 0.0)


def _sequence_bytes(cost: Cost, config: EngineConfig, device: str) -> int:
    """Half of a client's cells, and its state, read and written, as far as they are there."""
    kv = cost.kind_bytes("kv", device) // (2 * config.n_parallel)
    return kv + 2 * cost.kind_bytes("recurrent", device) // max(1, cost.n_sequences)


def _host_experts(
    cost: Cost, config: EngineConfig, facts: ModelFacts, bandwidths: Bandwidths, hits: HitCurve
) -> float:
    """Experts of system memory, read there, or from a cache after the missing ones came."""
    on_host = cost.expert_bytes.get(HOST, 0)
    if not on_host:
        return 0.0
    experts = TokenExperts(on_host * facts.used_fraction, _n_crossed(cost, config, facts))
    if not config.moe_cache_mib:
        return seconds_on_cpu(experts, bandwidths)
    found = hit_rate(cost.kind_bytes("moe_cache") / on_host, hits)
    return seconds_cached(experts, found, bandwidths, bandwidths.link_of(config))


def _n_crossed(cost: Cost, config: EngineConfig, facts: ModelFacts) -> int:
    """Layers on a device whose experts are not: each waits for the other side once."""
    total = sum(cost.expert_bytes.values())
    share = cost.expert_bytes.get(HOST, 0) / total if total else 0.0
    n_layers = len(facts.layers)
    n_gpu = n_layers + 1 if config.n_gpu_layers < 0 else config.n_gpu_layers
    on_device = [layer for layer in facts.moe_layers if layer >= n_layers + 1 - n_gpu]
    has_device = any(device != HOST for device in cost.weight_bytes)
    return min(round(share * len(facts.moe_layers)), len(on_device)) if has_device else 0


def hit_rate(share: float, curve: HitCurve = HITS) -> float:
    """Between the measured points, by a straight line."""
    for (x0, y0), (x1, y1) in pairwise(curve):
        if share <= x1:
            return y0 + (y1 - y0) * (share - x0) / (x1 - x0)
    return 1.0
