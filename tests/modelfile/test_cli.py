"""`pannier inspect`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pannier.cli import main

from .conftest import DATA, tiny
from .gguf_bytes import Gguf

PATH = DATA / "qwen3next" / "model-f32.gguf"


def inspect(path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    assert main(["inspect", str(path), *options]) == 0
    return capsys.readouterr().out


def test_shows_what_a_model_says_and_costs(capsys: pytest.CaptureFixture[str]) -> None:
    text = inspect(PATH, capsys)
    for line in (
        r"architecture +qwen3next",
        r"size +687\.4 KiB in 73 tensors",
        r"context +4096 tokens",
        r"vocabulary +320 tokens",
        r"chat template +yes",
        r"experts +F32 +12 +384 KiB",
        r"auto +.*exps +384 KiB",
        r"KV per token +256 B +136 B +72 B",
        r"recurrent state: 16\.5 KiB per sequence, f32",
    ):
        assert re.search(f"^{line}$", text, re.MULTILINE), line


def test_shows_both_costs_of_a_sliding_window(capsys: pytest.CaptureFixture[str]) -> None:
    text = inspect(DATA / "gemma3" / "model-f32.gguf", capsys)
    assert re.search(r"^KV per token +256 B +136 B +72 B$", text, re.MULTILINE)
    assert re.search(r"^KV per token of the window +1\.25 KiB .* of 16 tokens$", text, re.MULTILINE)


def test_lists_tensors_and_metadata(capsys: pytest.CaptureFixture[str]) -> None:
    text = inspect(PATH, capsys, "--tensors", "--metadata")
    assert re.search(r"^blk\.0\.ffn_down_exps\.weight +F32 +experts +\d+ x \d+ x 8 +", text, re.M)
    assert re.search(r"^tokenizer\.ggml\.tokens +arr\[str\] .*\.\.\. 320 elements", text, re.M)


def test_json_has_the_same_figures(capsys: pytest.CaptureFixture[str]) -> None:
    data = json.loads(inspect(PATH, capsys, "--json", "--tensors", "--metadata"))
    assert data["n_bytes"] == sum(row["n_bytes"] for row in data["sizes"]) == 703904
    assert sum(row["n_bytes"] for row in data["placement"]) == 703904
    assert data["per_client"]["kv_cell_bytes"] == {"f16": 256, "q8_0": 136, "q4_0": 72}
    assert data["per_client"]["recurrent_seq_bytes"] == 16896
    assert len(data["tensors"]) == data["n_tensors"] == 73
    assert data["tensors"][0].keys() == {
        "name", "shape", "type", "n_bytes", "shard", "offset", "role",
    }  # fmt: skip
    assert data["metadata"]["qwen3next.block_count"] == {"type": "u32", "value": 4}


def test_says_unknown_rather_than_guess(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tiny("llama")
    for key in file.keys:
        key.name = key.name.replace(b"llama.", b"olmo2.")
    file.set("general.architecture", "str", b"olmo2").drop("olmo2.context_length")
    for row in ("version", "patterns", "devices", "bytes"):
        file.drop(f"pannier.placement.{row}")
    path = file.write(tmp_path / "model.gguf")
    text = inspect(path, capsys)
    assert "per client: unknown for this architecture" in text
    assert "placement: none in the file" in text
    assert re.search(r"^context +unknown$", text, re.MULTILINE)
    assert json.loads(inspect(path, capsys, "--json"))["per_client"] is None


def test_a_file_without_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = Gguf(keys=tiny().keys)
    assert "0 B in 0 tensors" in inspect(file.write(tmp_path / "vocabulary.gguf"), capsys)


def test_a_terminal_is_safe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tiny().set("general.name", "str", b"\x1b[2Jnew\nline").set("x", "f64", float("nan"))
    path = file.write(tmp_path / "model.gguf")
    text = inspect(path, capsys, "--metadata")
    assert r"\x1b[2Jnew\nline" in text
    assert "\x1b" not in text
    assert (
        json.loads(inspect(path, capsys, "--json", "--metadata"))["metadata"]["x"]["value"] == "nan"
    )


def test_refuses_with_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tiny().set("qwen3next.block_count", "u32", 513).write(tmp_path / "model.gguf")
    assert main(["inspect", str(path)]) == 1
    out, err = capsys.readouterr()
    assert not out
    assert err.count("\n") == 1
    assert f"{path}: qwen3next.block_count is 513" in err
