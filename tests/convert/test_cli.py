"""`pannier convert` as it is typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from pannier.cli import main


def test_converts_and_prints_the_path(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "m.gguf"
    assert main(["convert", str(data / "llama"), "-o", str(out), "--type", "q8_0"]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{out}\n"
    assert "38/38 tensors" in printed.err
    assert out.stat().st_size > 80_000


def test_dry_run(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(data / "qwen3next"), "-o", str(tmp_path), "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"file          {tmp_path / 'qwen3next-bf16.gguf'}",
        "architecture  Qwen3NextForCausalLM",
        "type          bf16",
        "tensors       73 (42 BF16, 31 F32)",
        "size          358.3 kB",
        "pre-tokenizer qwen2",
    ]
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
    assert printed.out == f"{tmp_path / 'llama-f16.gguf'}\n"
