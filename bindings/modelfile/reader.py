"""Bytes of a GGUF file to numbers and strings; nothing is read past the file's end."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ..errors import ModelError
from .arrays import NumberArray, StringArray
from .strings import read_strings

DAMAGED = "the file is damaged or was cut short; download or convert it again"
UNSUITED = "no known converter writes this; get the file from its source again"

MAX_ELEMENTS = 1 << 30  # GGUF_MAX_ARRAY_ELEMENTS, GGUF_MAX_STRING_LENGTH

_STRING, _ARRAY, _BOOL = 8, 9, 7
_NUMBERS = {
    0: ("u8", "<B"),
    1: ("i8", "<b"),
    2: ("u16", "<H"),
    3: ("i16", "<h"),
    4: ("u32", "<I"),
    5: ("i32", "<i"),
    6: ("f32", "<f"),
    7: ("bool", "<B"),
    10: ("u64", "<Q"),
    11: ("i64", "<q"),
    12: ("f64", "<d"),
}
_SCALARS = {number: struct.Struct(code) for number, (_, code) in _NUMBERS.items()}
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


def refuse(path: Path, problem: str, advice: str = UNSUITED) -> NoReturn:
    """Raise the ModelError of a file that must not be loaded."""
    raise ModelError(f"{path}: {problem}; {advice}")


class Reader:
    """A position in the file. Each read names the field, for the message if it fails."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path = path
        self.data = data
        self.end = len(data)
        self.position = 0

    def unpack(self, layout: struct.Struct, field: str) -> tuple[Any, ...]:
        """The next bytes by a layout."""
        begin = self.position
        self.position += layout.size
        if self.position > self.end:
            self.position = begin
            self.refuse_end(field, layout.size)
        return layout.unpack_from(self.data, begin)

    def u32(self, field: str) -> int:
        return int(self.unpack(_U32, field)[0])

    def u64(self, field: str) -> int:
        return int(self.unpack(_U64, field)[0])

    def string(self, field: str) -> bytes:
        """A string: its length and its bytes."""
        (size,) = self.unpack(_U64, field)
        if size > self.end - self.position:
            self.refuse_end(field, size)
        if size > MAX_ELEMENTS:
            refuse(self.path, f"{field} is {size} bytes long, more than {MAX_ELEMENTS}")
        self.position += size
        return self.data[self.position - size : self.position]

    def text(self, field: str, most: int = MAX_ELEMENTS) -> str:
        """A string that is a name: UTF-8, without the zero byte at which C would end it, nor
        others that would do something to a terminal."""
        raw = self.string(field)
        if len(raw) > most:
            refuse(self.path, f"{field} is {len(raw)} bytes long; {most} is the most")
        try:
            name = raw.decode()
        except UnicodeDecodeError:
            refuse(self.path, f"{field} is {raw[:64]!r}, which is no UTF-8")
        if not name.isprintable():
            refuse(self.path, f"{field} is {raw[:64]!r}, with bytes that are no text")
        return name

    def value(self, key: str) -> tuple[str, object]:
        """A metadata value with its type before it: GGUF's word for the type, the value."""
        number = self.u32(f"the type of {key}")
        if number == _ARRAY:
            return self._array(key)
        if number == _STRING:
            return "str", self.string(key).decode("utf-8", "replace")
        if number not in _SCALARS:
            refuse(self.path, f"{key} has the type number {number}; GGUF has 0 to 12", DAMAGED)
        (value,) = self.unpack(_SCALARS[number], key)
        if number == _BOOL:
            if value > 1:
                refuse(self.path, f"{key} is the truth value {value}; it must be 0 or 1")
            value = bool(value)
        return _NUMBERS[number][0], value

    def _array(self, key: str) -> tuple[str, NumberArray | StringArray]:
        number = self.u32(f"the element type of {key}")
        n = self.u64(f"the length of {key}")
        if number != _STRING and number not in _NUMBERS:
            refuse(self.path, f"{key} is an array of type number {number}, which none can be")
        name, code = _NUMBERS.get(number, ("str", "<Q"))  # a string is at least its length
        size = n * struct.calcsize(code)
        if n > MAX_ELEMENTS or size > self.end - self.position:
            self.refuse_end(f"{key}, an array of {n} elements,", size)
        if number == _STRING:
            return "arr[str]", self._strings(key, n)
        values = np.frombuffer(self.data, np.dtype(code), n, self.position)
        self.position += size
        if number == _BOOL:
            if n and values.max() > 1:
                refuse(self.path, f"{key} has the truth value {values.max()}; it must be 0 or 1")
            values = values.view(np.bool_)
        return f"arr[{name}]", NumberArray(values, name)

    def _strings(self, key: str, n: int) -> StringArray:
        try:
            array, self.position = read_strings(self.data, self.position, n, self.end)
        except ValueError as error:
            refuse(self.path, f"string {error} of {key} goes beyond the end of the file", DAMAGED)
        return array

    def refuse_end(self, field: str, size: int) -> NoReturn:
        """Raise the ModelError of a field that the file is too short for."""
        left = self.end - self.position
        refuse(
            self.path,
            f"{field} needs {size} bytes at byte {self.position}, where {left} are left",
            DAMAGED,
        )
