"""Engines for the tests, and a way to run code in a process with a given one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from types import ModuleType

import pytest

from pannier.engine import BuildOptions, Engine, ensure_engine
from pannier.errors import ToolchainError

# A shell that runs the tests in the background has them ignore Ctrl-C, and their children with
# them; some tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)


def engine_or_skip(options: BuildOptions) -> Engine:
    """The engine of `options`; skip the test when this machine lacks a tool to build it."""
    try:
        return ensure_engine(options)
    except ToolchainError as error:
        pytest.skip(str(error))


def run_python(
    engine: Engine,
    code: str,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    timeout_s: float = 300,
) -> str:
    """Run `code` in a new Python that loads `engine`; return what it printed.

    One process loads one engine only. Fails the test with the process's stderr
    when it ends with anything but 0.
    """
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        env=engine_environment(engine) | dict(env or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    if result.returncode:
        pytest.fail(
            f"status {result.returncode} on {engine.name}\n{result.stdout}\n{result.stderr}"
        )
    return result.stdout


def engine_environment(engine: Engine) -> dict[str, str]:
    """The environment for a process that loads `engine`, a sanitised one included."""
    environment = {**os.environ, "PANNIER_ENGINE": str(engine.directory)}
    if engine.manifest.preload:
        # Python never frees some of its own memory, so leaks are not looked for.
        environment |= {
            "LD_PRELOAD": ":".join(engine.manifest.preload),
            "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1",
            "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
        }
    return environment


@pytest.fixture(scope="session")
def cpu_engine() -> Engine:
    """The plain CPU engine. Never skipped: every machine that runs the tests can build it."""
    return ensure_engine(BuildOptions(backend="cpu"))


@pytest.fixture(scope="session")
def pannier(request: pytest.FixtureRequest) -> ModuleType:
    """The package with an engine loaded: the CPU's, or the one that PANNIER_ENGINE names."""
    import pannier
    from pannier import _ffi

    if "PANNIER_ENGINE" in os.environ:
        _ffi.library()
    else:
        _ffi.load(request.getfixturevalue("cpu_engine").library)
    return pannier


@pytest.fixture(scope="session")
def vulkan_engine() -> Engine:
    """The Vulkan engine; a software driver will do as its device."""
    return engine_or_skip(BuildOptions(backend="vulkan"))


@pytest.fixture(scope="session")
def unpatched_engine() -> Engine:
    """The CPU engine without the patch series, to show what the patches change."""
    return engine_or_skip(BuildOptions(backend="cpu", unpatched=True))


@pytest.fixture(scope="session")
def sanitized_engine() -> Engine:
    """The CPU engine with address and undefined-behaviour checks in our own files."""
    return engine_or_skip(BuildOptions(backend="cpu", sanitize=("address", "undefined")))


@pytest.fixture(scope="session")
def tools_engine() -> Engine:
    """The CPU engine with llama.cpp's own programs beside it, to compare with."""
    return engine_or_skip(BuildOptions(backend="cpu", tools=True))
