"""The header of one GGUF file, checked: magic, version, metadata, tensor table, tensor data.

The checks are those of llama.cpp's `gguf.cpp` and `llama-model-loader.cpp`, and stricter where
those let something through that ends in an assertion later.
"""

from __future__ import annotations

import mmap
import os
import stat
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import NamedTuple

from ..errors import ModelError
from .reader import DAMAGED, Reader, refuse
from .tensor_types import TYPES

MAX_DIMENSIONS = 4
MAX_NAME = 64
ALIGNMENT = 32
"""GGUF's default, and what ggml asserts for the address of every tensor that it maps."""

_TENSOR = [struct.Struct(f"<{n}QIQ") for n in range(MAX_DIMENSIONS + 1)]
_MIN_KEY, _MIN_TENSOR = 8 + 1 + 4 + 1, 8 + 4 + 4 + 8
_MAX_SIZE = 2**63 - 1


class TensorInfo(NamedTuple):
    """One tensor in the file."""

    name: str
    shape: tuple[int, ...]
    """ggml's order: the first number is the length of a row."""
    type: str
    """E.g. "Q4_K"."""
    n_bytes: int
    shard: int
    """Index into `ModelFile.shards`."""
    offset: int
    """Where its data begins, in bytes from the beginning of its file."""


@dataclass(frozen=True)
class Header:
    """What one file says; a split set has several."""

    path: Path
    version: int
    metadata: dict[str, object]
    types: dict[str, str]
    """GGUF's word for the type of each metadata value, e.g. "u32" or "arr[str]"."""
    tensors: tuple[TensorInfo, ...]
    spans: dict[str, tuple[int, int]]
    """Where each metadata key's record begins and ends, in bytes from the beginning."""
    table: tuple[int, int]
    """The same for the tensor table, which comes after the metadata."""
    data_begin: int
    """Where the tensor data begins."""


def read_header(path: Path, shard: int = 0) -> Header:
    """Read and check the header of one file. Raises ModelError."""
    reader = Reader(path, map_file(path))
    version, n_tensors, n_keys = _counts(reader)
    metadata, types, spans = _metadata(reader, n_keys)
    table_begin = reader.position
    tensors = _tensors(reader, n_tensors, shard)
    alignment = _alignment(reader, metadata, types)
    table = (table_begin, reader.position)
    begin = -(-reader.position // alignment) * alignment
    placed = _place(reader, tensors, begin, alignment)
    return Header(path, version, metadata, types, placed, spans, table, begin)


def map_file(path: Path) -> mmap.mmap:
    """The file's bytes, not read yet. Raises ModelError for what is no readable file."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for ever
            refuse(path, "it is no file", "give the path of a GGUF file")
        with path.open("rb") as file:
            if not os.fstat(file.fileno()).st_size:
                refuse(path, "the file is empty", DAMAGED)
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise ModelError(
            f"{path}: {error.strerror or error}; give the path of a GGUF file"
        ) from None
    except ValueError as error:
        raise ModelError(f"{path!s}: {error}; give the path of a GGUF file") from None


def _counts(reader: Reader) -> tuple[int, int, int]:
    magic = reader.data[:4]
    if magic != b"GGUF":
        refuse(reader.path, f"the file begins with {magic!r}, not b'GGUF'", "give a GGUF file")
    reader.position = 4
    version = reader.u32("the version")
    if version not in (2, 3):
        swapped = " of the other byte order" if version & 0xFFFF == 0 else ""
        refuse(
            reader.path,
            f"the version is {version}{swapped}; 2 and 3 can be read",
            "convert the model again",
        )
    n_tensors, n_keys = reader.u64("the tensor count"), reader.u64("the metadata count")
    least = n_tensors * _MIN_TENSOR + n_keys * _MIN_KEY
    if least > reader.end - reader.position:
        reader.refuse_end(f"the table of {n_keys} metadata keys and {n_tensors} tensors", least)
    return version, n_tensors, n_keys


def _metadata(
    reader: Reader, n_keys: int
) -> tuple[dict[str, object], dict[str, str], dict[str, tuple[int, int]]]:
    metadata: dict[str, object] = {}
    types: dict[str, str] = {}
    spans: dict[str, tuple[int, int]] = {}
    for i in range(n_keys):
        begin = reader.position
        key = reader.text(f"metadata key {i}")
        if not key:
            refuse(reader.path, f"metadata key {i} is empty")
        if key in metadata:
            refuse(reader.path, f"metadata key {i}, {key}, is there twice")
        types[key], metadata[key] = reader.value(key)
        spans[key] = (begin, reader.position)
    return metadata, types, spans


def _alignment(reader: Reader, metadata: dict[str, object], types: dict[str, str]) -> int:
    alignment = metadata.get("general.alignment", ALIGNMENT)
    if types.get("general.alignment", "u32") != "u32" or not isinstance(alignment, int):
        word = types["general.alignment"]
        refuse(reader.path, f"general.alignment has the type {word}; it must be u32")
    if alignment < 1 or alignment & (alignment - 1):
        refuse(reader.path, f"general.alignment is {alignment}; it must be a power of 2")
    return alignment


def _tensors(reader: Reader, n: int, shard: int) -> list[TensorInfo]:
    """The table; offsets are relative to the tensor data still."""
    tensors = []
    names = set()
    for i in range(n):
        name = reader.text(f"the name of tensor {i}", MAX_NAME - 1)
        if name in names:
            refuse(reader.path, f"tensor {i}, {name}, is there twice")
        names.add(name)
        n_dims = reader.u32(name)
        if n_dims > MAX_DIMENSIONS:
            refuse(reader.path, f"tensor {name} has {n_dims} dimensions; 4 is most")
        *shape, number, offset = reader.unpack(_TENSOR[n_dims], name)
        kind = TYPES.get(number)
        if kind is None:
            refuse(reader.path, f"tensor {name} has the type number {number}, unknown to ggml")
        n_bytes = _n_bytes(reader.path, name, shape, kind.block, kind.size)
        tensors.append(TensorInfo(name, tuple(shape), kind.name, n_bytes, shard, offset))
    return tensors


def _n_bytes(path: Path, name: str, shape: list[int], block: int, size: int) -> int:
    n_elements = prod(shape)
    if not 0 < n_elements <= _MAX_SIZE:
        refuse(path, f"tensor {name} has the shape {tuple(shape)}, of {n_elements} elements")
    if (shape[0] if shape else 1) % block:
        refuse(path, f"tensor {name} has rows of {shape[:1]} elements, no multiple of {block}")
    return n_elements // block * size


def _place(
    reader: Reader, tensors: list[TensorInfo], begin: int, alignment: int
) -> tuple[TensorInfo, ...]:
    """Offsets from the beginning of the file: tensors follow each other, padded, without gaps."""
    path = reader.path
    expected = 0
    placed = []
    for name, shape, kind, n_bytes, shard, relative in tensors:
        if relative != expected:
            what = "overlaps the tensor before it" if relative < expected else "leaves a gap"
            refuse(
                path,
                f"tensor {name} begins at byte {relative} of the tensor data and {what}; "
                f"{expected} was expected",
            )
        offset = begin + relative
        if offset % ALIGNMENT:
            refuse(
                path,
                f"tensor {name} begins at byte {offset} of the file, no multiple of "
                f"{ALIGNMENT} (general.alignment is {alignment})",
                "convert the model again with the default alignment",
            )
        if offset + n_bytes > reader.end:
            reader.position = min(offset, reader.end)
            reader.refuse_end(f"the data of tensor {name}", n_bytes)
        placed.append(TensorInfo(name, shape, kind, n_bytes, shard, offset))
        expected += -(-n_bytes // alignment) * alignment
    return tuple(placed)
