"""NVFP4 checkpoints without holding them in memory.

Upstream repacks every NVFP4 matrix while it collects tensors and keeps all of them until the file
is written. Inside `lazily` it is given lazy matrices and a packing that waits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gguf
import numpy as np

from .lazy import evaluate


class Reordered:
    """A matrix, or its scales, of which upstream will bring both into another order."""

    def __init__(self, shape: Any, reorder: Any) -> None:
        self.shape, self.reorder = shape, reorder


class Packed:
    """A matrix that will be packed; stands where upstream has the packed array."""

    def __init__(self, pack: Any, weight: Any, scale: Any) -> None:
        self._make = (pack, weight, scale)
        rows, blocks = scale.shape
        self.shape = (rows, blocks // 4 * 36)

    def copy(self) -> Packed:
        return self

    def pack(self) -> Any:
        pack, weight, scale = self._make
        if isinstance(weight, Reordered):
            weight, scale = weight.reorder()
        return pack(evaluate(weight), evaluate(scale))[0]


def lazy_array(parts: list[Packed], shape: tuple[int, ...]) -> Any:
    """The parts, one below the other, as one of upstream's lazy arrays of bytes."""

    def load(packed: tuple[Packed, ...]) -> Any:
        out = np.empty(shape, dtype=np.uint8)
        matrices = out.reshape(len(packed), *packed[0].shape)
        for matrix, part in zip(matrices, packed, strict=True):
            matrix[:] = part.pack()
        return out

    return gguf.LazyNumpyTensor(
        meta=gguf.LazyNumpyTensor.meta_with_dtype_and_shape(np.uint8, shape),
        args=(tuple(parts),),
        func=load,
    )


def repack_lazily(base: Any, model_class: Any) -> None:
    """Have upstream's `_generate_nvfp4_tensors` work on lazy matrices.

    base: the module `conversion.base`; model_class: its ModelBase.
    """
    generate, pack = model_class._generate_nvfp4_tensors, model_class._nvfp4_pack

    def pack_later(weight: Any, scale: Any) -> tuple[Packed, list[int]]:
        return Packed(pack, weight, scale), [weight.shape[0], scale.shape[1] // 4 * 64]

    def generate_lazily(model: Any) -> None:
        with matrices_stay_lazy(base), writer_takes_packed(model.gguf_writer):
            generate(model)

    def flush(model: Any, key: Any, *tables: Any) -> None:
        flush_experts(model, key, *tables)

    model_class._nvfp4_pack = staticmethod(pack_later)
    model_class._generate_nvfp4_tensors = generate_lazily
    model_class._flush_nvfp4_experts = flush


def reorder_lazily(reordering_class: Any) -> None:
    """Have upstream's reordering of value heads wait too: on lazy matrices its indices would
    be lost, because those say that they are on torch's meta device.

    reordering_class: conversion.qwen._LinearAttentionVReorderBase.
    """
    transform = reordering_class._transform_nvfp4_weight

    def transform_later(model: Any, name: str, weight: Any, scale: Any) -> tuple[Any, Any]:
        def reorder() -> Any:
            return transform(model, name, evaluate(weight), evaluate(scale))

        return Reordered(weight.shape, reorder), Reordered(scale.shape, reorder)

    reordering_class._transform_nvfp4_weight = transform_later


def flush_experts(
    model: Any, key: Any, blocks: Any, scales: Any, input_scales: Any, shapes: Any, *_: Any
) -> None:
    """Add a layer's experts, stacked in order of their number, and the factors that go along."""
    layer, projection = key
    experts = [packed for _, packed in sorted(blocks.pop(key), key=lambda pair: pair[0])]
    shapes.pop(key)
    theirs = f"model.layers.{layer}.mlp.experts.{projection}.weight"
    name = model.map_tensor_name(theirs)
    stack = lazy_array(experts, (len(experts), *experts[0].shape))
    model.gguf_writer.add_tensor(name, stack, raw_dtype=gguf.GGMLQuantizationType.NVFP4)
    model._tag_prec_a4(theirs, name)
    for suffix, factors in ((".scale", scales.pop(key)), (".input_scale", input_scales.pop(key))):
        in_order = [factor for _, factor in sorted(factors)]
        model._write_scales_tensor(name.replace(".weight", suffix), in_order)


@contextmanager
def matrices_stay_lazy(base: Any) -> Iterator[None]:
    """Within this, upstream evaluates factors at once and matrices not at all."""

    def numbers_only(value: Any) -> Any:
        return value if getattr(value, "ndim", 0) >= 2 else evaluate(value)

    base.LazyTorchTensor.to_eager = staticmethod(numbers_only)
    try:
        yield
    finally:
        del base.LazyTorchTensor.to_eager  # what it inherits shows again


@contextmanager
def writer_takes_packed(writer: Any) -> Iterator[None]:
    """Within this, a `Packed` given to the writer becomes a lazy array."""
    add_tensor = writer.add_tensor

    def add(name: str, tensor: Any, **kwargs: Any) -> None:
        array = lazy_array([tensor], tensor.shape) if isinstance(tensor, Packed) else tensor
        add_tensor(name, array, **kwargs)

    writer.add_tensor = add
    try:
        yield
    finally:
        del writer.add_tensor
