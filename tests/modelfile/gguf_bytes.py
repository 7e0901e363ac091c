"""GGUF files written byte by byte: any field can be wrong."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pannier.modelfile.arrays import NumberArray, StringArray
from pannier.modelfile.header import read_header
from pannier.modelfile.tensor_types import TYPES

NUMBERS = {
    "u8": (0, "<B"),
    "i8": (1, "<b"),
    "u16": (2, "<H"),
    "i16": (3, "<h"),
    "u32": (4, "<I"),
    "i32": (5, "<i"),
    "f32": (6, "<f"),
    "bool": (7, "<?"),
    "u64": (10, "<Q"),
    "i64": (11, "<q"),
    "f64": (12, "<d"),
}
TYPE_NUMBERS = {kind.name: number for number, kind in TYPES.items()}


@dataclass
class Key:
    """One metadata value; `type` is GGUF's word: "u32", "str", "arr[str]"."""

    name: bytes
    type: str
    value: Any
    raw: bytes | None = None
    """What stands for type and value in place of them."""

    def to_bytes(self) -> bytes:
        return string(self.name) + (
            value_bytes(self.type, self.value) if self.raw is None else self.raw
        )


@dataclass
class Tensor:
    """One tensor; without an offset it follows the one before."""

    name: bytes
    shape: tuple[int, ...]
    type: int
    data: bytes
    offset: int | None = None
    n_dims: int | None = None


@dataclass
class Gguf:
    """A file. What is None is computed."""

    keys: list[Key] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)
    magic: bytes = b"GGUF"
    version: int = 3
    n_tensors: int | None = None
    n_keys: int | None = None
    alignment: int = 32

    @classmethod
    def read(cls, path: Path) -> Gguf:
        """The parts of a valid file."""
        header = read_header(path)
        data = path.read_bytes()
        keys = [
            Key(name.encode(), header.types[name], plain(value))
            for name, value in header.metadata.items()
        ]
        tensors = [
            Tensor(
                tensor.name.encode(),
                tensor.shape,
                TYPE_NUMBERS[tensor.type],
                data[tensor.offset : tensor.offset + tensor.n_bytes],
            )
            for tensor in header.tensors
        ]
        return cls(keys, tensors)

    def get(self, name: str) -> Key:
        return {key.name: key for key in self.keys}[name.encode()]

    def set(self, name: str, type: str, value: Any) -> Gguf:
        """Give a key a value, in place or at the end; for chaining."""
        self.drop(name)
        self.keys.append(Key(name.encode(), type, value))
        return self

    def drop(self, name: str) -> Gguf:
        self.keys = [key for key in self.keys if key.name != name.encode()]
        return self

    def tensor(self, name: str) -> Tensor:
        return {tensor.name: tensor for tensor in self.tensors}[name.encode()]

    def to_bytes(self) -> bytes:
        n_tensors = len(self.tensors) if self.n_tensors is None else self.n_tensors
        n_keys = len(self.keys) if self.n_keys is None else self.n_keys
        out = bytearray(self.magic + struct.pack("<IQQ", self.version, n_tensors, n_keys))
        for key in self.keys:
            out += key.to_bytes()
        offset = 0
        for tensor in self.tensors:
            n_dims = len(tensor.shape) if tensor.n_dims is None else tensor.n_dims
            out += string(tensor.name) + struct.pack(
                f"<I{len(tensor.shape)}Q", n_dims, *tensor.shape
            )
            at = offset if tensor.offset is None else tensor.offset
            out += struct.pack("<IQ", tensor.type, at)
            offset += len(self._padded(tensor.data))
        out = bytearray(self._padded(bytes(out)))
        for tensor in self.tensors:
            out += self._padded(tensor.data)
        return bytes(out)

    def _padded(self, data: bytes) -> bytes:
        return data + bytes(-len(data) % self.alignment)

    def write(self, path: Path) -> Path:
        path.write_bytes(self.to_bytes())
        return path


def string(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def value_bytes(type: str, value: Any) -> bytes:
    """Type and value as they stand in a file."""
    if type.startswith("arr["):
        element = type[4:-1]
        if element == "str":
            return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(string, value))
        number, code = NUMBERS[element]
        return struct.pack("<IIQ", 9, number, len(value)) + struct.pack(
            f"<{len(value)}{code[1]}", *value
        )
    if type == "str":
        return struct.pack("<I", 8) + string(value)
    number, code = NUMBERS[type]
    return struct.pack("<I", number) + struct.pack(code, value)


def plain(value: object) -> Any:
    """A value of `ModelFile.metadata` to write again."""
    if isinstance(value, StringArray):
        return [value.raw(i) for i in range(len(value))]
    if isinstance(value, NumberArray):
        return list(value)
    return value.encode() if isinstance(value, str) else value
