"""`pannier convert` as it is typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from pannier.cli import main


def test_converts_and_prints_the_path(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "m.gguf"
    assert main(["convert", str(data / "llama"), "-o", str(out), "--quant", "q8_0"]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{out}\n"
    assert "38/38 tensors" in printed.err
    assert out.stat().st_size > 80_000


def test_dry_run(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(data / "qwen3next"), "-o", str(tmp_path), "--dry-run"]) == 0
    tensors, roles, types, devices, summary = capsys.readouterr().out.split("\n\n")
    rows = [line.split() for line in tensors.splitlines()]
    assert rows[0] == ["tensor", "shape", "type", "bytes", "role", "device"]
    assert len(rows) == 1 + 73
    assert " ".join(rows[-1]) == "blk.3.ffn_up_exps.weight 32 x 32 x 8 BF16 16.4 kB experts auto"
    assert roles.splitlines()[1].split() == ["experts", "196.6", "kB"]
    assert {line.split()[0] for line in types.splitlines()[1:]} == {"BF16", "F32"}
    assert [line.split()[0] for line in devices.splitlines()[1:]] == ["auto", "input", "gpu"]
    lines = dict(line.split(maxsplit=1) for line in summary.splitlines())
    assert lines["files"] == str(tmp_path / "qwen3next-BF16.gguf")
    assert lines["recipe"] == "BF16"
    assert lines["pre-tokenizer"] == "qwen2"
    assert list(tmp_path.iterdir()) == []


def test_an_error_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(tmp_path / "absent")]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("pannier: error: there is no folder")
    assert printed.err.count("\n") == 1


def test_the_current_folder_by_default_and_upstreams_messages(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["convert", str(data / "llama"), "--verbose"]) == 0
    printed = capfd.readouterr()
    assert "INFO:hf-to-gguf:" in printed.err
    assert printed.out == f"{tmp_path / 'llama-F16.gguf'}\n"
