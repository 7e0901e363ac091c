"""Split sets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pannier.errors import ModelError
from pannier.modelfile import open_model_file

from .conftest import tiny
from .gguf_bytes import Gguf


def parts(n: int = 3) -> list[Gguf]:
    """A model in n files."""
    whole = tiny()
    cut = -(-len(whole.tensors) // n)
    files = [Gguf(tensors=whole.tensors[i * cut : (i + 1) * cut]) for i in range(n)]
    files[0].keys = whole.keys
    for i, file in enumerate(files):
        file.set("split.no", "u16", i).set("split.count", "u16", n)
        file.set("split.tensors.count", "i32", len(whole.tensors))
    return files


def write(files: list[Gguf], folder: Path) -> list[Path]:
    n = len(files)
    return [file.write(folder / f"model-{i:05}-of-{n:05}.gguf") for i, file in enumerate(files, 1)]


def test_a_set_is_one_model(tmp_path: Path) -> None:
    paths = write(parts(), tmp_path)
    file = open_model_file(paths[0])
    assert file.shards == tuple(paths)
    assert [tensor.name.encode() for tensor in file.tensors] == [t.name for t in tiny().tensors]
    for tensor, told in zip(file.tensors, tiny().tensors, strict=True):
        data = paths[tensor.shard].read_bytes()
        assert data[tensor.offset : tensor.offset + tensor.n_bytes] == told.data


def set_key(part: int, name: str, type: str, value: int) -> Callable[[list[Gguf]], object]:
    return lambda files: files[part].set(name, type, value)


def name_twice(files: list[Gguf]) -> None:
    files[2].tensors[0].name = files[0].tensors[0].name


def cut(files: list[Gguf]) -> None:
    files[1].tensors[-1].data = b""


SPOILED: dict[str, tuple[Callable[[list[Gguf]], object], str]] = {
    "tensor count": (set_key(0, "split.tensors.count", "i32", 9), "count is 9, but the parts have"),
    "tensor count missing": (
        lambda files: files[0].drop("split.tensors.count"),
        "tensors.count is None",
    ),
    "number": (set_key(2, "split.no", "u16", 1), "00003-of-00003.gguf: split.no is 1, where 2"),
    "number missing": (lambda files: files[2].drop("split.no"), "split.no is None, where 2"),
    "number's type": (set_key(2, "split.no", "u32", 2), "split.no has the type u32"),
    "count's type": (set_key(0, "split.count", "u32", 3), "split.count has the type u32"),
    "count": (
        set_key(1, "split.count", "u16", 4),
        "00002-of-00003.gguf: split.count is 4, where 3",
    ),
    "count of another set": (
        set_key(0, "split.count", "u16", 7),
        "split.count is 7, which the file's name denies",
    ),
    "tensor twice": (name_twice, "is in an earlier part too"),
    "part cut": (cut, "00002-of-00003.gguf: "),
}


@pytest.mark.parametrize("name", SPOILED)
def test_refuses(name: str, tmp_path: Path) -> None:
    files = parts()
    spoil, match = SPOILED[name]
    spoil(files)
    with pytest.raises(ModelError, match=match):
        open_model_file(write(files, tmp_path)[0])


def test_refuses_a_set_without_one_of_its_parts(tmp_path: Path) -> None:
    paths = write(parts(), tmp_path)
    paths[1].unlink()
    with pytest.raises(ModelError, match=r"00002-of-00003.gguf: the file is missing"):
        open_model_file(paths[0])


def test_names_the_first_part_for_another_one(tmp_path: Path) -> None:
    paths = write(parts(), tmp_path)
    with pytest.raises(ModelError, match=r"load model-00001-of-00003.gguf"):
        open_model_file(paths[1])
