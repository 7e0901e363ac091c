"""Half a minute of requests made of the OpenAPI document; `bench/fuzz_http/run.py` has hours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pannier.engine import Engine

from ..conftest import engine_environment
from .test_clients import TINY

SCRIPT = Path(__file__).parents[2] / "bench" / "fuzz_http" / "run.py"


@pytest.mark.engine
def test_a_short_run_finds_nothing(cpu_engine: Engine) -> None:
    pytest.importorskip("schemathesis")
    growth = "1000" if cpu_engine.manifest.preload else "32"  # a sanitiser keeps what is freed
    options = ("--model", str(TINY), "--minutes", "0.3", "--first", "examples")
    answer = subprocess.run(
        [sys.executable, str(SCRIPT), *options, "--growth-mib", growth],
        env=engine_environment(cpu_engine),
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
