"""Compiles sequences.cpp against an engine and plays scripts with it."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from pannier.engine import Engine, source_tree

HERE = Path(__file__).parent
MODEL = HERE.parent / "data" / "qwen35moe-rollback.gguf"
# A software driver will do; half precision would hide small errors; a crash needs no debugger.
ENVIRONMENT = {
    "GGML_VK_VISIBLE_DEVICES": "0",
    "GGML_VK_DISABLE_F16": "1",
    "GGML_NO_BACKTRACE": "1",
}


class Player:
    """The driver, built for one engine."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.program = folder / f"sequences-{engine.name}"
        tree = source_tree()
        library = engine.directory / "lib"
        subprocess.run(
            [
                os.environ.get("CXX", "c++"),
                *("-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror"),
                *(f"-I{tree / part}" for part in ("include", "ggml/include")),
                *(HERE / "sequences.cpp", "-o", self.program),
                *(f"-L{library}", f"-Wl,-rpath,{library}"),
                *("-lllama", "-lggml", "-lggml-base"),
            ],
            check=True,
        )

    def run(
        self,
        script: Sequence[str],
        *,
        n_seq: int = 4,
        n_rs_seq: int = 4,
        unified: bool = True,
        timeout_s: float = 120,
    ) -> "Played":
        """Play the script's commands on a fresh context; a crash is part of the answer."""
        result = subprocess.run(
            [self.program, MODEL, str(n_seq), str(n_rs_seq), str(int(unified))],
            input="\n".join(script) + "\n",
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env=os.environ | ENVIRONMENT,
            check=False,
        )
        return Played(result.returncode, result.stdout.splitlines(), result.stderr)


class Played:
    """What a script answered, line by line."""

    def __init__(self, status: int, answers: list[str], stderr: str) -> None:
        self.status = status
        self.answers = answers
        self.stderr = stderr

    @property
    def error(self) -> float:
        """The worst relative error of a decode; infinite when the driver did not survive."""
        errors = [float(line.split()[1]) for line in self.answers if line.startswith("error")]
        return max(errors) if self.status == 0 else float("inf")

    @property
    def rollbacks(self) -> list[str]:
        """The answers to the rollbacks, in order."""
        return [line for line in self.answers if line in ("accepted", "refused")]

    @property
    def logits(self) -> list[float]:
        """The answer to the script's last command, `logits`."""
        return [float(x) for x in self.answers[-1].split()]


def player_of(engine: Engine, factory: pytest.TempPathFactory) -> Player:
    return Player(engine, factory.mktemp("sequences"))


@pytest.fixture(scope="session")
def stock(unpatched_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Player:
    """The driver on llama.cpp as it comes."""
    return player_of(unpatched_engine, tmp_path_factory)


@pytest.fixture(scope="session")
def patched(cpu_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Player:
    """The driver on the patched CPU engine."""
    return player_of(cpu_engine, tmp_path_factory)


@pytest.fixture(scope="session")
def patched_vulkan(vulkan_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Player:
    """The driver on the patched Vulkan engine, everything on the device."""
    return player_of(vulkan_engine, tmp_path_factory)
