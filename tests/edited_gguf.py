"""A GGUF file with some of its metadata and tensors replaced or added."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np


def edited(
    source: Path,
    path: Path,
    metadata: Mapping[str, Any] | None = None,
    tensors: Mapping[str, np.ndarray] | None = None,
) -> Path:
    """Write `path`. A new key's type is that of its value: str, bool, float, int (u32), list of
    str."""
    reader = gguf.GGUFReader(source)
    changes = dict(metadata or {})
    architecture = changes.pop(
        "general.architecture", reader.fields["general.architecture"].contents()
    )
    writer = gguf.GGUFWriter(path, architecture)
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        if field.name not in changes:
            sub_type = field.types[-1] if len(field.types) > 1 else None
            writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=sub_type)
    for key, value in changes.items():
        _add(writer, key, value)
    for name, data in _tensors(reader, tensors or {}).items():
        writer.add_tensor(name, data)
    _write(writer)
    return path


ALPHA = 4.0


class Lora:
    """A LoRA adapter of random weights for some tensors of a model."""

    def __init__(self, model: Path, *parts: str, rank: int = 2, seed: int = 0) -> None:
        """`parts`: what the names of the tensors contain."""
        reader = gguf.GGUFReader(model)
        rng = np.random.default_rng(seed)
        self.model = model
        self.architecture = reader.fields["general.architecture"].contents()
        self.weights = {
            tensor.name: np.array(tensor.data)
            for tensor in reader.tensors
            if any(part in tensor.name for part in parts) and len(tensor.data.shape) > 1
        }
        assert self.weights
        self.a, self.b = {}, {}
        for name, weight in self.weights.items():
            *stack, n_out, n_in = weight.shape
            if name == "token_embd.weight":  # rows are looked up in the first one
                n_out, n_in = n_in, rank
                a, b = (weight.shape[0], rank), (n_out, rank)
            else:
                a, b = (*stack, rank, n_in), (*stack, n_out, rank)
            self.a[name] = rng.standard_normal(a, dtype=np.float32) / 4
            self.b[name] = rng.standard_normal(b, dtype=np.float32) / 4
        self.rank = rank

    @property
    def tensors(self) -> dict[str, np.ndarray]:
        """Of the adapter's file."""
        return {
            **{f"{name}.lora_a": data for name, data in self.a.items()},
            **{f"{name}.lora_b": data for name, data in self.b.items()},
        }

    def write(self, path: Path, metadata: Mapping[str, Any] | None = None) -> Path:
        """The adapter's file; a value of None leaves a key out."""
        keys: dict[str, Any] = {
            "general.type": "adapter",
            "adapter.type": "lora",
            "adapter.lora.alpha": ALPHA,
            **(metadata or {}),
        }
        writer = gguf.GGUFWriter(path, keys.pop("general.architecture", self.architecture))
        for key, value in keys.items():
            if value is not None:
                _add(writer, key, value)
        for name, data in self.tensors.items():
            writer.add_tensor(name, data)
        _write(writer)
        return path

    def merge(self, path: Path, scale: float = 1.0) -> Path:
        """The model with the adapter in its weights."""
        factor = np.float32(scale * ALPHA / self.rank)
        return edited(
            self.model,
            path,
            tensors={
                name: weight + factor * self._product(name) for name, weight in self.weights.items()
            },
        )

    def _product(self, name: str) -> np.ndarray:
        a, b = self.a[name], self.b[name]
        return a @ b.T if name == "token_embd.weight" else b @ a


def _tensors(reader: gguf.GGUFReader, changes: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {**{tensor.name: tensor.data for tensor in reader.tensors}, **changes}


def _add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    else:
        writer.add_array(key, value)


def _write(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
