"""llama.cpp's cache of experts: what it did, layer by layer.

Layers whose experts lie in system memory are computed on a device, from slots that hold the
experts used last. Layers of equal layout on one device share their slots.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import _ffi

MAX_BATCH = 32
"""Most tokens of a ubatch that uses the cache; larger ones only read it."""


@dataclass(frozen=True)
class MoeCounts:
    """What happened since the context was created.

    Attributes:
        ubatches: computed from the cache, counted per layer.
        hits, misses: distinct experts of a ubatch that were there, or had to be uploaded.
        uploaded_bytes: of the misses.
        copied: experts that large batches read from the cache instead of system memory.
        copied_bytes: of these.
        wait_seconds: that the host waited for the chosen experts, and for what the device had to
            compute before it knew them.
        upload_seconds: that the host then spent on uploads, until they were on their way.
    """

    ubatches: int = 0
    hits: int = 0
    misses: int = 0
    uploaded_bytes: int = 0
    copied: int = 0
    copied_bytes: int = 0
    wait_seconds: float = 0.0
    upload_seconds: float = 0.0

    @property
    def seconds(self) -> float:
        """Lost waiting and uploading."""
        return self.wait_seconds + self.upload_seconds

    @property
    def hit_rate(self) -> float | None:
        """0 to 1; None before the first use."""
        used = self.hits + self.misses
        return self.hits / used if used else None

    def __add__(self, other: MoeCounts) -> MoeCounts:
        return MoeCounts(
            ubatches=self.ubatches + other.ubatches,
            hits=self.hits + other.hits,
            misses=self.misses + other.misses,
            uploaded_bytes=self.uploaded_bytes + other.uploaded_bytes,
            copied=self.copied + other.copied,
            copied_bytes=self.copied_bytes + other.copied_bytes,
            wait_seconds=self.wait_seconds + other.wait_seconds,
            upload_seconds=self.upload_seconds + other.upload_seconds,
        )


@dataclass(frozen=True)
class MoeLayer:
    """A cached layer.

    Attributes:
        group: layers of one group share its slots.
        n_slots: experts that the group's slots hold.
        expert_bytes: of one expert of this layer.
    """

    layer: int
    device: str
    group: int
    n_slots: int
    expert_bytes: int
    counts: MoeCounts


@dataclass(frozen=True)
class MoeCache:
    """The cache of one context."""

    layers: tuple[MoeLayer, ...]

    @property
    def total(self) -> MoeCounts:
        """Over all layers."""
        return sum((layer.counts for layer in self.layers), MoeCounts())

    @property
    def groups(self) -> dict[int, tuple[MoeLayer, ...]]:
        """Layers by group."""
        groups: dict[int, tuple[MoeLayer, ...]] = {}
        for layer in self.layers:
            groups[layer.group] = (*groups.get(layer.group, ()), layer)
        return groups


def moe_cache(context: _ffi.Handle) -> MoeCache | None:
    """The cache of a context; None if it has none, or no layer is cached."""
    lib = _ffi.library()
    count = _ffi.int32()
    lib.check(lib.context_moe_cache(context, None, 0, _ffi.byref(count)))
    array = _ffi.moe_layers_of(count.value)
    lib.check(lib.context_moe_cache(context, array, count.value, _ffi.byref(count)))
    return MoeCache(tuple(map(_layer, array))) if len(array) else None


def _layer(raw: _ffi.moe_layer) -> MoeLayer:
    return MoeLayer(
        layer=raw.layer,
        device=raw.device.decode(),
        group=raw.group,
        n_slots=raw.n_slots,
        expert_bytes=raw.expert_bytes,
        counts=MoeCounts(
            ubatches=raw.n_ubatches,
            hits=raw.n_hits,
            misses=raw.n_misses,
            uploaded_bytes=raw.upload_bytes,
            copied=raw.n_copied,
            copied_bytes=raw.copied_bytes,
            wait_seconds=raw.wait_us / 1e6,
            upload_seconds=raw.upload_us / 1e6,
        ),
    )
