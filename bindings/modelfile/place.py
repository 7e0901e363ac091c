"""Write a model file's placement anew: in place where the file has room for it.

`pannier convert` leaves blanks behind the placement (`pannier.reserved`), and the new rows take
as much of them as they need: nothing else in the file moves. In other files the metadata grows,
so the first file of the set is copied, by the kernel, which shares the tensor data with the old
file where the file system can, and renamed.
"""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Sequence
from itertools import pairwise

from rich.filesize import decimal

from ..errors import ModelError
from ..part import sweep_parts, whole
from ..placement import EXPERTS, PREFIX, RESERVED, RESERVED_BYTES, Placement, is_tied
from .header import Header, read_header
from .model_file import ModelFile, open_model_file

_KEYS = tuple(PREFIX + key for key in ("version", "patterns", "devices", "bytes"))
_COUNT_AT = 16
"""Where the number of metadata keys stands: after magic, version and number of tensors."""
_STRING, _ARRAY, _U32, _U64 = 8, 9, 4, 10


def place(path: str | os.PathLike[str], experts: str) -> bool:
    """Write where a file's routed experts belong; True if that was done without a copy.

    path: a GGUF file, or the first one of a split set.
    experts: as `pannier.expert_words` says.

    Raises ArgumentError for words that do not fit the file; ModelError for a file that is not
    valid, has no experts, or cannot be written, and for a disk without room for the copy. The file
    is the old or the new one at any time.
    """
    file = open_model_file(path)
    placement = placement_of(file, experts)
    if not placement.rows[0].pattern.endswith(EXPERTS):
        raise ModelError(f"{file.path} has no routed experts: there is nothing to place")
    header = read_header(file.shards[0])
    try:
        if write_in_place(header, placement):
            return True
        write_copy(header, placement)
    except OSError as error:
        raise ModelError(f"{header.path}: {error.strerror or error}") from error
    return False


def placement_of(file: ModelFile, experts: str) -> Placement:
    """The placement of a file's tensors with its experts on a device."""
    sizes = {tensor.name: tensor.n_bytes for tensor in file.tensors}
    causal = bool(file.metadata.get(f"{file.architecture}.attention.causal", True))
    return Placement.of_experts(experts, sizes.items(), tied=is_tied(sizes, causal))


def write_in_place(header: Header, placement: Placement) -> bool:
    """Overwrite the placement's records if they stand together and the new ones fit."""
    spans = sorted(header.spans[key] for key in (*_KEYS, RESERVED) if key in header.spans)
    joined = all(a[1] == b[0] for a, b in pairwise(spans))
    if len(spans) != len(_KEYS) + 1 or not joined:
        return False
    begin, end = spans[0][0], spans[-1][1]
    blanks = end - begin - len(records(placement, 0))
    if blanks < 0:
        return False
    with header.path.open("r+b") as file:
        file.seek(begin)
        file.write(records(placement, blanks))
        file.flush()
        os.fsync(file.fileno())
    return True


def write_copy(header: Header, placement: Placement) -> None:
    """Write the file with other records beside itself, and rename."""
    path = header.path
    sweep_parts(path.parent, path.name)
    size = path.stat().st_size
    if (free := shutil.disk_usage(path.parent).free) < size:
        raise ModelError(
            f"{path} has no room for another placement, and a copy needs {decimal(size)} in "
            f"{path.parent}, where {decimal(free)} are free"
        )
    with whole(path) as part:
        with path.open("rb") as old, part.open("wb") as new:
            new.write(new_header(header, placement, old.read(header.table[1])))
            new.flush()
            copy_rest(old.fileno(), new.fileno(), header.data_begin)
            os.fsync(new.fileno())
        shutil.copymode(path, part)


def new_header(header: Header, placement: Placement, old: bytes) -> bytes:
    """Everything before the tensor data: the old records but the placement's, then those."""
    kept = [span for key, span in header.spans.items() if key not in (*_KEYS, RESERVED)]
    n_keys = struct.pack("<Q", len(kept) + len(_KEYS) + 1)
    parts = [old[:_COUNT_AT], n_keys, *(old[begin:end] for begin, end in kept)]
    parts += [records(placement, RESERVED_BYTES), old[slice(*header.table)]]
    whole = b"".join(parts)
    alignment = int(str(header.metadata.get("general.alignment", 32)))
    return whole + bytes(-len(whole) % alignment)


def copy_rest(source: int, target: int, begin: int) -> None:
    """Append a file from `begin` on to another, in the kernel where it can."""
    end = os.fstat(source).st_size
    while begin < end:
        os.lseek(source, begin, os.SEEK_SET)
        try:
            copied = os.copy_file_range(source, target, end - begin)
        except (OSError, AttributeError):
            copied = os.write(target, os.read(source, 16 << 20))
        begin += copied


def records(placement: Placement, n_blanks: int) -> bytes:
    """The placement as GGUF's metadata records, the blanks last."""
    rows = placement.rows
    values = {
        "version": struct.pack("<II", _U32, 1),
        "patterns": _strings([row.pattern for row in rows]),
        "devices": _strings([row.device for row in rows]),
        "bytes": _array(_U64, [struct.pack("<Q", row.n_bytes) for row in rows]),
    }
    body = b"".join(_string(PREFIX + key) + value for key, value in values.items())
    return body + _string(RESERVED) + struct.pack("<I", _STRING) + _string(" " * n_blanks)


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _strings(texts: Sequence[str]) -> bytes:
    return _array(_STRING, [_string(text) for text in texts])


def _array(kind: int, items: Sequence[bytes]) -> bytes:
    return struct.pack("<IIQ", _ARRAY, kind, len(items)) + b"".join(items)
