"""The real engines: what is in them, and that they load."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pannier.engine import Engine, find_engine, source_tree
from pannier.engine.find import is_current
from pannier.engine.manifest import damaged_files
from pannier.engine.series import read_series
from pannier.third_party import LLAMA_CPP

pytestmark = pytest.mark.engine

LOAD = """\
import ctypes, pathlib, sys
library = pathlib.Path(sys.argv[1])
ctypes.CDLL(str(library))
mapped = {line.split()[-1] for line in open("/proc/self/maps") if ".so" in line}
print(*sorted(name for name in mapped if "llama" in name or "ggml" in name), sep="\\n")
"""


def loaded(engine: Engine) -> list[Path]:
    """The files of llama.cpp that a process with libpannier in it maps."""
    command = [sys.executable, "-c", LOAD, str(engine.library)]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    return [Path(line) for line in result.stdout.split()]


def test_the_cpu_engine_is_whole_and_current(cpu_engine: Engine) -> None:
    manifest = cpu_engine.manifest
    assert damaged_files(manifest, cpu_engine.directory) == []
    assert manifest.source == f"archive-{LLAMA_CPP.sha256}"
    assert list(manifest.ingredients["patches"]) == [patch.slug for patch in read_series()]
    assert is_current(cpu_engine)
    assert find_engine("cpu").backends == ("cpu",)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/maps")
def test_it_loads_its_own_llama_cpp_and_no_other(cpu_engine: Engine) -> None:
    files = loaded(cpu_engine)
    assert {path.parent for path in files} == {cpu_engine.library.parent}
    assert {path.name for path in files} >= {"libllama.so", "libllama-common.so", "libggml-cpu.so"}


@pytest.mark.vulkan
def test_the_vulkan_engine_brings_both_backends(vulkan_engine: Engine) -> None:
    assert vulkan_engine.backends == ("vulkan", "cpu")
    names = {path.name for path in (vulkan_engine.directory / "lib").iterdir()}
    assert {"libggml-vulkan.so", "libggml-cpu.so"} <= names


def test_the_unpatched_engine_has_no_patch(unpatched_engine: Engine, cpu_engine: Engine) -> None:
    assert unpatched_engine.manifest.ingredients["patches"] == {}
    assert unpatched_engine.manifest.key != cpu_engine.manifest.key


def test_the_sanitized_engine_checks_libpannier_alone(sanitized_engine: Engine) -> None:
    with_checks = {
        path.name
        for path in (sanitized_engine.directory / "lib").iterdir()
        if b"__asan_init" in path.read_bytes()
    }
    assert with_checks == {sanitized_engine.library.name}


def test_a_second_build_only_looks(cpu_engine: Engine) -> None:
    """No time is asserted; what makes it quick is that nothing heavy is imported or run."""
    code = (
        "import json, sys; from pannier.cli import main; status = main(sys.argv[1:]); "
        "sys.stderr.write(json.dumps([status, sorted(sys.modules)]))"
    )
    command = [sys.executable, "-c", code, "build", "--backend", "cpu"]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    status, modules = json.loads(result.stderr)
    assert status == 0
    assert Path(result.stdout.strip()) == cpu_engine.directory
    assert not {"torch", "transformers", "fastapi", "rich", "gguf"} & set(modules)


def test_the_pristine_tree_has_the_converter() -> None:
    tree = source_tree()
    for part in ("conversion", "gguf-py", "include/llama.h", "LICENSE"):
        assert (tree / part).exists()
    licence = Path(__file__).parents[2] / "third_party" / "LICENSE.llama.cpp"
    assert (tree / "LICENSE").read_text().split() == licence.read_text().split()
