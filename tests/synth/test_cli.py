"""`pannier synth` as it is typed: what it refuses, what it leaves, what it writes."""

from __future__ import annotations

import errno
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from pannier.cli import main, make_parser
from pannier.convert.random_gguf import types_of
from pannier.engine import Engine
from pannier.errors import ArgumentError
from pannier.modelfile import open_model_file
from pannier.synth.file import check_room, write_header_only
from pannier.synth.models import spec_of
from pannier.synth.routing import Routing
from pannier.synth.weights import Synthesis
from tests.conftest import engine_environment


def test_a_header_is_as_long_as_the_model_and_takes_no_disk(tmp_path: Path) -> None:
    spec = spec_of("gpt-oss-120b")
    made = Synthesis(spec, types_of(spec), 2)
    path = write_header_only(tmp_path / "m.gguf", made)
    assert path.stat().st_size > made.n_weight_bytes > 60 << 30
    assert path.stat().st_blocks * 512 < 16 << 20
    assert list(tmp_path.iterdir()) == [path]
    file = open_model_file(path)
    assert file.n_bytes == pytest.approx(made.n_weight_bytes, rel=1e-6)
    assert {tensor.name for tensor in file.tensors} == set(made.shapes)


def test_a_full_disk_is_told_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10**9))
    check_room(tmp_path / "m.gguf", 10**9)
    with pytest.raises(ArgumentError, match=r"m.gguf takes 48.5 GB, and .* has 1.0 GB free"):
        check_room(tmp_path / "m.gguf", 48_500_000_000)


def test_a_file_that_is_there_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.gguf"
    path.write_text("mine")
    assert main(["synth", "kimi-linear", "-o", str(path)]) == 1
    assert "is there; --force writes over it" in capsys.readouterr().err
    assert path.read_text() == "mine"
    assert main(["synth", "kimi-linear", "-o", str(tmp_path / "no" / "m.gguf")]) == 1
    assert "make it first" in capsys.readouterr().err
    assert main(["synth", "kimi-linear", "-o", str(tmp_path), "--force"]) == 1
    assert "is a folder; name a file in it" in capsys.readouterr().err
    assert main(["synth", "kimi-linear", "-o", str(tmp_path / "n"), "--seed", "-1"]) == 1
    assert "a seed of -1; it can be 0 or more" in capsys.readouterr().err


def test_a_disk_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = spec_of("kimi-linear", 3)
    made = Synthesis(spec, types_of(spec), 2)

    def fail(path: Path, made: Synthesis) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pannier.synth.weights.make_synthesis", lambda *args, **options: made)
    monkeypatch.setattr("pannier.synth.cli._write", fail)
    assert main(["synth", "kimi-linear", "-o", str(tmp_path / "m.gguf")]) == 1
    assert "m.gguf cannot be written: No space left on device" in capsys.readouterr().err


def test_defaults_are_the_routings() -> None:
    args = make_parser().parse_args(["synth", "kimi-linear", "-o", "m.gguf"])
    assert Routing(args.skew, args.locality) == Routing()


@pytest.mark.engine
def test_header_only_and_force(
    pannier: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m.gguf"
    path.write_text("mine")
    arguments = ["synth", "qwen3-coder-next", "--header-only", "-o", str(path), "--force"]
    assert main(arguments) == 0
    said = capsys.readouterr()
    assert said.out == f"{path}\n"
    assert "79.67 billion weights, 48.48 GB" in said.err
    assert path.stat().st_size > 48e9
    assert list(tmp_path.iterdir()) == [path]
    assert main(["inspect", str(path)]) == 0
    assert "45.15 GiB in 843 tensors" in capsys.readouterr().out


@pytest.mark.engine
def test_a_recipe_that_cannot_be_made(
    pannier: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m.gguf"
    assert main(["synth", "kimi-linear", "--type", "IQ1_S", "-o", str(path)]) == 1
    assert "recipe IQ1_S has matrices in IQ1_S" in capsys.readouterr().err
    assert main(["synth", "kimi-linear", "--type", "Q4_K_X", "-o", str(path)]) == 1
    assert "no quantisation recipe 'Q4_K_X'; nearest: " in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.engine
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_of_an_interrupted_write(
    cpu_engine: Engine, tmp_path: Path, number: signal.Signals
) -> None:
    command = [sys.executable, "-m", "pannier", "synth", "qwen3-coder-next", "--layers", "4"]
    with subprocess.Popen(
        [*command, "-o", str(tmp_path / "m.gguf")],
        env=engine_environment(cpu_engine),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while process.poll() is None and not any(
            part.stat().st_size > 50 << 20 for part in tmp_path.iterdir()
        ):
            time.sleep(0.01)
        process.send_signal(number)
        assert process.stderr
        said = process.stderr.read()
    assert process.returncode == 130, said
    assert said.endswith("pannier: interrupted\n")
    assert list(tmp_path.iterdir()) == []
