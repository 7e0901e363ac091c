"""Headers with a lie in each field: the attacks on GGUF readers, one crafted file each."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from pannier.errors import ModelError
from pannier.modelfile import open_model_file
from pannier.modelfile.header import read_header

from .conftest import FILES, Refused, tiny
from .gguf_bytes import Gguf, Key, Tensor, string

HUGE = 2**64 - 1
VECTOR = bytes(64)  # sixteen F32 values


def changed(**fields: object) -> Gguf:
    """A model with fields of the header changed."""
    file = tiny()
    for name, value in fields.items():
        setattr(file, name, value)
    return file


def with_key(name: bytes, raw: bytes) -> Gguf:
    """A model with one more key, its type and value as given."""
    file = tiny()
    file.keys.append(Key(name, "", None, raw))
    return file


def with_tensor(**fields: object) -> Gguf:
    """A model whose first tensor is a vector of sixteen, with fields changed."""
    file = tiny()
    file.tensors = [Tensor(b"first.weight", (16,), 0, VECTOR), *file.tensors]
    for name, value in fields.items():
        setattr(file.tensors[0], name, value)
    return file


SPOILED: dict[str, tuple[Callable[[], Gguf], str]] = {
    "magic": (lambda: changed(magic=b"GGML"), r"begins with b'GGML'"),
    "version 0": (lambda: changed(version=0), "version is 0"),
    "version 1": (lambda: changed(version=1), "version is 1"),
    "version 4": (lambda: changed(version=4), "version is 4"),
    "byte order": (lambda: changed(version=3 << 24), "other byte order"),
    "tensor count": (lambda: changed(n_tensors=2**40), f"{2**40} tensors needs"),
    "tensor count, negative": (lambda: changed(n_tensors=HUGE), f"{HUGE} tensors needs"),
    "tensor count, wraps when multiplied": (
        lambda: changed(n_tensors=2**64 // 368 + 1),  # by ggml_tensor_overhead()
        "tensors needs",
    ),
    "key count": (lambda: changed(n_keys=2**62), "metadata keys"),
    "one key too many": (lambda: changed(n_keys=len(tiny().keys) + 1), "spoiled.gguf: "),
    "one tensor too many": (lambda: changed(n_tensors=len(tiny().tensors) + 1), "spoiled.gguf: "),
    "key empty": (lambda: with_key(b"", struct.pack("<IB", 0, 1)), "is empty"),
    "key twice": (lambda: with_key(b"general.name", struct.pack("<IB", 0, 1)), "there twice"),
    "key with a zero byte": (
        lambda: with_key(b"general.name\0x", struct.pack("<IB", 0, 1)),
        "bytes that are no text",
    ),
    "key with a terminal's codes": (
        lambda: with_key(b"\x1b[2J", struct.pack("<IB", 0, 1)),
        "bytes that are no text",
    ),
    "key not UTF-8": (lambda: with_key(b"\xff", struct.pack("<IB", 0, 1)), "no UTF-8"),
    "value's type": (lambda: with_key(b"x", struct.pack("<IB", 13, 1)), "type number 13"),
    "truth value": (lambda: with_key(b"x", struct.pack("<IB", 7, 2)), "truth value 2"),
    "string's length": (lambda: with_key(b"x", struct.pack("<IQ", 8, HUGE)), f"needs {HUGE} bytes"),
    "string's length, wraps": (
        lambda: with_key(b"x", struct.pack("<IQ", 8, HUGE - 8)),
        f"needs {HUGE - 8} bytes",
    ),
    "array in an array": (
        lambda: with_key(b"x", struct.pack("<IIQ", 9, 9, 1)),
        "array of type number 9",
    ),
    "array's length": (
        lambda: with_key(b"x", struct.pack("<IIQ", 9, 4, 2**62 + 1)),
        f"array of {2**62 + 1} elements",
    ),
    "array of strings' length": (
        lambda: with_key(b"x", struct.pack("<IIQ", 9, 8, 2**61 + 1)),
        f"array of {2**61 + 1} elements",
    ),
    "string in an array": (
        lambda: with_key(
            b"x", struct.pack("<IIQ", 9, 8, 2) + string(b"a") + struct.pack("<Q", HUGE)
        ),
        "string 1 of x goes beyond",
    ),
    "truth value in an array": (
        lambda: with_key(b"x", struct.pack("<IIQ", 9, 7, 2) + b"\x01\x05"),
        "truth value 5",
    ),
    "alignment 0": (lambda: tiny().set("general.alignment", "u32", 0), "alignment is 0"),
    "alignment 3": (lambda: tiny().set("general.alignment", "u32", 3), "alignment is 3"),
    "alignment's type": (lambda: tiny().set("general.alignment", "u64", 32), "has the type u64"),
    "alignment as text": (
        lambda: tiny().set("general.alignment", "str", b"32"),
        "has the type str",
    ),
    "alignment beyond the file": (
        lambda: tiny().set("general.alignment", "u32", 1 << 31),
        "spoiled.gguf: ",
    ),
    "alignment too small for mmap": (
        lambda: changed(alignment=1, keys=[*tiny().keys, Key(b"general.alignment", "u32", 1)]),
        "no multiple of 32",
    ),
    "tensor's name too long": (
        lambda: with_tensor(name=b"x" * 64),
        "is 64 bytes long; 63 is the most",
    ),
    "tensor twice": (lambda: with_tensor(name=b"output_norm.weight"), "there twice"),
    "tensor with a zero byte": (lambda: with_tensor(name=b"a\0b"), "bytes that are no text"),
    "five dimensions": (lambda: with_tensor(shape=(16, 1, 1, 1, 1)), "5 dimensions"),
    "dimension count": (lambda: with_tensor(n_dims=2**32 - 1), "dimensions"),
    "no elements": (lambda: with_tensor(shape=(0,)), "of 0 elements"),
    "negative dimension": (lambda: with_tensor(shape=(2**63,)), "elements"),
    "elements wrap to few": (lambda: with_tensor(shape=(2**32, 2**32, 1, 1)), "elements"),
    "bytes wrap to few": (lambda: with_tensor(shape=(2**62, 1)), f"needs {2**64} bytes"),
    "padding wraps": (lambda: with_tensor(shape=(2**62 - 1,)), "needs"),
    "tensor's type": (lambda: with_tensor(type=43), "type number 43"),
    "tensor's type, removed from ggml": (lambda: with_tensor(type=4), "type number 4"),
    "tensor's type, negative": (lambda: with_tensor(type=2**32 - 1), "unknown to ggml"),
    "rows no multiple of a block": (lambda: with_tensor(type=2), "no multiple of 32"),
    "offset overlaps": (lambda: overlapping(), "overlaps the tensor before it"),
    "offset leaves a gap": (lambda: with_tensor(offset=4096), "leaves a gap"),
    "offset wraps": (lambda: with_tensor(offset=HUGE - 31), "leaves a gap"),
    "offset not aligned": (lambda: with_tensor(offset=4), "leaves a gap"),
    "data shorter than the shape": (lambda: with_tensor(shape=(16, 2**20)), "spoiled.gguf: "),
}


def overlapping() -> Gguf:
    file = with_tensor()
    file.tensors[1].offset = 0
    return file


@pytest.mark.parametrize("name", SPOILED)
def test_refuses(name: str, refused: Refused) -> None:
    make, match = SPOILED[name]
    refused(make(), match)


def test_refuses_data_shorter_than_the_last_shape(refused: Refused) -> None:
    """ "Bleeding Llama": what lies behind the file would be read as weights."""
    file = tiny()
    file.tensors[-1].data = file.tensors[-1].data[:-64]
    refused(file, f"the data of tensor {file.tensors[-1].name.decode()} needs")


def test_refuses_every_cut(tmp_path: Path) -> None:
    data = tiny().to_bytes()
    path = tmp_path / "cut.gguf"
    for end in [*range(64), *range(64, len(data) - 64, 997), len(data) - 65]:
        path.write_bytes(data[:end])
        with pytest.raises(ModelError):
            open_model_file(path)


@pytest.mark.parametrize("what", ["missing", "folder", "empty", "pipe"])
def test_refuses_what_is_no_file(what: str, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "empty":
        path.touch()
    with pytest.raises(ModelError, match=r"model\.gguf: "):
        open_model_file(path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_accepts_what_llama_cpp_converted(path: Path) -> None:
    assert open_model_file(path).tensors


@pytest.mark.parametrize(
    "make",
    [
        lambda: changed(version=2),
        lambda: with_key(b"someone.else", struct.pack("<IIQ", 9, 6, 0)),
        lambda: with_key(b"someone.else", struct.pack("<Id", 12, float("nan"))),
        lambda: changed(alignment=64, keys=[*tiny().keys, Key(b"general.alignment", "u32", 64)]),
        lambda: with_tensor(shape=(), data=bytes(4)),
    ],
    ids=["version 2", "unknown array", "unknown number", "alignment of 64", "scalar"],
)
def test_accepts(make: Callable[[], Gguf], accepted: Callable[[Gguf], None]) -> None:
    accepted(make())


def test_accepts_bytes_after_the_data(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(tiny().to_bytes() + bytes(1000))
    assert open_model_file(path).n_bytes == sum(len(tensor.data) for tensor in tiny().tensors)


def test_header_agrees_with_ggufs_own_reader() -> None:
    import gguf

    path = FILES[0]
    theirs = gguf.GGUFReader(path)
    ours = read_header(path)
    assert [(t.name, t.n_bytes, t.offset, t.type) for t in ours.tensors] == [
        (t.name, t.n_bytes, t.data_offset, t.tensor_type.name) for t in theirs.tensors
    ]
    assert set(ours.metadata) == {key for key in theirs.fields if not key.startswith("GGUF.")}
