"""How long the experts of a token take, by where they are and how fast that is read.

    all in system memory    E / cpu + layers * sync
    so many layers' on the device    the same of the others, + E / gpu of these
    in system memory, a cache on the device    E / gpu + (1 - hits) E / link + layers * sync

E are the bytes of the experts of one token. llama.cpp's cache waits for the router in each layer,
uploads what is missing, and only then computes, all of it on the device: so the terms add up, and
the CPU has no share.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .speed import Bandwidths


@dataclass(frozen=True)
class TokenExperts:
    """Experts that one token reads."""

    n_bytes: float
    n_layers: float
    """Layers whose experts they are; each costs a synchronisation where the CPU or a cache has a
    part in it."""

    def part(self, share: float) -> TokenExperts:
        """Those of so many of the layers."""
        return replace(self, n_bytes=self.n_bytes * share, n_layers=self.n_layers * share)


def seconds_on_cpu(experts: TokenExperts, rates: Bandwidths) -> float:
    """In system memory, beside layers on a device."""
    return experts.n_bytes / rates.cpu + experts.n_layers * rates.sync_s


def seconds_on_gpu(experts: TokenExperts, rates: Bandwidths) -> float:
    """In the device's memory."""
    return experts.n_bytes / rates.gpu


def seconds_static(experts: TokenExperts, share: float, rates: Bandwidths) -> float:
    """This share of the layers' on the device for good."""
    return seconds_on_gpu(experts.part(share), rates) + seconds_on_cpu(
        experts.part(1 - share), rates
    )


def seconds_cached(
    experts: TokenExperts, hits: float, rates: Bandwidths, link: float | None = None
) -> float:
    """In system memory, with a cache that has so many of them; `link` if it is not `rates.link`."""
    missing = (1 - hits) * experts.n_bytes
    waits = experts.n_layers * rates.sync_s
    return seconds_on_gpu(experts, rates) + missing / (link or rates.link) + waits


def hits_needed(
    experts: TokenExperts, share: float, rates: Bandwidths, link: float | None = None
) -> float:
    """Hit rate from which a cache with this share of the experts is as fast as the same memory for
    whole layers' experts. Above 1: no cache is."""
    most = seconds_static(experts, share, rates) - seconds_cached(experts, 1.0, rates, link)
    return 1 - most * (link or rates.link) / experts.n_bytes
