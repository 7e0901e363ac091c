"""A split set: one model in files NAME-00001-of-00003.gguf and so on.

Only the first file has the metadata; each says its number.
"""

from __future__ import annotations

import re
from pathlib import Path

from .header import Header, read_header
from .reader import refuse

_NAME = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf")
_NUMBER, _COUNT, _TENSORS = "split.no", "split.count", "split.tensors.count"


def read_set(path: Path) -> list[Header]:
    """The headers of a file and of the others of its set. Raises ModelError."""
    first = read_header(path)
    n = _count(first)
    if n < 2:
        return [first]
    headers = [first]
    for i, shard in enumerate(_paths(first, n)[1:], 1):
        if not shard.is_file():
            refuse(shard, f"the file is missing; {path.name} has {n} parts", "download it too")
        header = read_header(shard, i)
        _check_part(header, i, n)
        headers.append(header)
    _check_tensors(headers)
    return headers


def _count(header: Header) -> int:
    """Files in the set; 0 or 1 for a model in one file."""
    n = header.metadata.get(_COUNT, 0)
    _check_type(header, _COUNT, "u16")
    assert isinstance(n, int)
    return n


def _paths(first: Header, n: int) -> list[Path]:
    _check_type(first, _NUMBER, "u16")
    number = first.metadata.get(_NUMBER)
    match = _NAME.fullmatch(first.path.name)
    if number != 0:
        name = f"{match[1]}-00001-of-{match[3]}.gguf" if match else "the first file of the set"
        refuse(first.path, f"{_NUMBER} is {number}, of {n} parts", f"load {name}")
    if not match or int(match[2]) != 1 or int(match[3]) != n:
        expected = f"NAME-00001-of-{n:05}.gguf"
        refuse(first.path, f"{_COUNT} is {n}, which the file's name denies", f"name it {expected}")
    return [first.path.with_name(f"{match[1]}-{i + 1:05}-of-{n:05}.gguf") for i in range(n)]


def _check_part(header: Header, i: int, n: int) -> None:
    for key, expected in ((_NUMBER, i), (_COUNT, n)):
        _check_type(header, key, "u16")
        found = header.metadata.get(key, None if key == _NUMBER else n)
        if found != expected:
            refuse(
                header.path,
                f"{key} is {found}, where {expected} was expected",
                "the file is from another set; download all parts again",
            )


def _check_tensors(headers: list[Header]) -> None:
    first = headers[0]
    _check_type(first, _TENSORS, "i32")
    n_tensors = sum(len(header.tensors) for header in headers)
    expected = first.metadata.get(_TENSORS)
    if n_tensors != expected:
        refuse(
            first.path,
            f"{_TENSORS} is {expected}, but the parts have {n_tensors} tensors",
            "download all parts again",
        )
    names: set[str] = set()
    for header in headers:
        for tensor in header.tensors:
            if tensor.name in names:
                refuse(header.path, f"tensor {tensor.name} is in an earlier part too")
            names.add(tensor.name)


def _check_type(header: Header, key: str, type: str) -> None:
    found = header.types.get(key, type)
    if found != type:
        refuse(header.path, f"{key} has the type {found}; it must be {type}")
