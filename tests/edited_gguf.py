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


def adapter(path: Path, tensors: Mapping[str, np.ndarray], **metadata: Any) -> Path:
    """Write a LoRA adapter; keys of `metadata` have `_` for `.`, and None leaves one out."""
    keys = {
        "general.type": "adapter",
        "adapter.type": "lora",
        "adapter.lora.alpha": 4.0,
        **{key.replace("__", "."): value for key, value in metadata.items()},
    }
    writer = gguf.GGUFWriter(path, keys.pop("general.architecture", "llama"))
    for key, value in keys.items():
        if value is not None:
            _add(writer, key, value)
    for name, data in tensors.items():
        writer.add_tensor(name, data)
    _write(writer)
    return path


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
