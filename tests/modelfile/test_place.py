"""`pannier place`: other rows in the metadata, the same tensors."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import gguf
import pytest

from pannier.cli import main
from pannier.errors import ModelError
from pannier.modelfile import open_model_file
from pannier.modelfile.place import place
from pannier.placement import PREFIX, Placement

DATA = Path(__file__).resolve().parents[1] / "data"


def tensors(path: Path) -> dict[str, bytes]:
    return {tensor.name: tensor.data.tobytes() for tensor in gguf.GGUFReader(path).tensors}


def others(path: Path) -> dict[str, object]:
    """The metadata but pannier's."""
    metadata = open_model_file(path).metadata
    return {
        key: list(value) if isinstance(value, Sequence) else value
        for key, value in metadata.items()
        if not key.startswith("pannier.")
    }


def experts_on(path: Path) -> str:
    placement = Placement.from_metadata(open_model_file(path).metadata)
    assert placement is not None
    return placement.device_of("blk.0.ffn_up_exps.weight")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(shutil.copy(DATA / "qwen3moe" / "model-f32.gguf", tmp_path / "m.gguf"))


def without_placement(path: Path) -> Path:
    """The same model as any other tool would write it."""
    reader = gguf.GGUFReader(path)
    out = path.with_name("other.gguf")
    writer = gguf.GGUFWriter(out, "qwen3moe")
    for key, field in reader.fields.items():
        if not key.startswith(("GGUF.", "pannier.", "general.architecture")):
            inner = field.types[-1] if len(field.types) > 1 else None
            writer.add_key_value(key, field.contents(), field.types[0], inner)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out


def test_a_file_of_ours_changes_in_place(model: Path) -> None:
    before = (model.stat().st_ino, model.stat().st_size, tensors(model), others(model))
    for device in ("cpu", "gpu", "auto"):
        assert place(model, device) is True
        assert experts_on(model) == device
    assert (model.stat().st_ino, model.stat().st_size, tensors(model), others(model)) == before


def test_another_tools_file_is_copied_once(model: Path) -> None:
    other = without_placement(model)
    before = (tensors(other), others(other))
    assert place(other, "cpu") is False
    assert (tensors(other), others(other)) == before
    assert experts_on(other) == "cpu"
    assert place(other, "gpu") is True
    assert sorted(path.name for path in other.parent.iterdir()) == ["m.gguf", "other.gguf"]


def test_the_sizes_are_the_files(model: Path) -> None:
    place(model, "cpu")
    file = open_model_file(model)
    rows = Placement.from_metadata(file.metadata)
    assert rows is not None
    experts = sum(tensor.n_bytes for tensor in file.tensors if "_exps" in tensor.name)
    assert rows.bytes_on("cpu") == experts
    assert sum(row.n_bytes for row in rows.rows) == file.n_bytes


def test_a_dense_model_has_nothing_to_place() -> None:
    with pytest.raises(ModelError, match=r"model-f32\.gguf has no routed experts"):
        place(DATA / "llama" / "model-f32.gguf", "cpu")


def test_no_room_for_a_copy(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = without_placement(model)
    before = other.read_bytes()
    usage = shutil.disk_usage(model.parent)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ModelError, match=r"a copy needs 5\d\d\.\d kB in .*, where 1\.0 kB"):
        place(other, "cpu")
    assert other.read_bytes() == before


def test_a_copy_sweeps_what_a_killed_one_left(model: Path) -> None:
    other = without_placement(model)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = [f".other.gguf.{pid}.part" for pid in (dead.pid, os.getppid())]
    for name in names:
        (other.parent / name).touch()
    assert place(other, "cpu") is False
    assert [path.name for path in other.parent.glob(".*")] == names[1:]


def test_on_the_command_line(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["place", str(model), "--experts", "cpu"]) == 0
    assert capsys.readouterr().out == f"{model}\n"
    assert PREFIX + "devices" in open_model_file(model).metadata
    assert experts_on(model) == "cpu"
