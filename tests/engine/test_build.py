"""Build, find, interrupt: the whole way, on a miniature engine."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import pannier.native
import pannier.patches
from pannier.cli import main
from pannier.engine import BuildOptions, Engine, ensure_engine, find_engine
from pannier.engine import find as module
from pannier.engine.backends import Choice
from pannier.engine.manifest import damaged_files
from pannier.engine.recipe import TOOLS
from pannier.engine.store import open_engine, stored_engines
from pannier.errors import BuildError, EngineError, EngineNotFound

pytestmark = pytest.mark.usefixtures("cache", "native", "series")

SLEEP = """\
add_custom_target(wait COMMAND sh {script} VERBATIM)
add_dependencies(llama wait)
"""
OVERRUN = """\
static int numbers[4];
static volatile int place = 5;
#define NUMBER numbers[place]
"""
IN_A_PROCESS = """\
import sys, pannier.native, pannier.patches
pannier.native.__path__, pannier.patches.__path__ = [sys.argv[1]], [sys.argv[2]]
from pannier.cli import main
sys.exit(main(sys.argv[3:]))
"""


@pytest.fixture
def options(tree: Path, monkeypatch: pytest.MonkeyPatch) -> BuildOptions:
    """The plain engine of the miniature tree, which is also the source found by default."""
    monkeypatch.setenv("PANNIER_SOURCE", str(tree))
    monkeypatch.setattr(module.backends, "choose_backend", lambda: Choice("cpu", ()))
    return BuildOptions(backend="cpu")


def start(*arguments: str) -> subprocess.Popen[str]:
    """`pannier` with the miniature sources, as a process of its own."""
    places = (pannier.native.__path__[0], pannier.patches.__path__[0])
    return subprocess.Popen(
        [sys.executable, "-c", IN_A_PROCESS, *places, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def number(engine: Engine) -> int:
    """What the miniature library answers, loaded in a process of its own."""
    code = "import ctypes, sys; print(ctypes.CDLL(sys.argv[1]).pannier_number())"
    command = [sys.executable, "-c", code, str(engine.library)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until something is so; fail the test when it never is."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def ended(process: subprocess.Popen[str]) -> bool:
    """Fail the test, with what it said, when a process is over too early."""
    if process.poll() is not None:
        pytest.fail(f"ended with {process.returncode}: {process.communicate()}")
    return False


def is_running(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return "State:\tZ" not in Path(f"/proc/{process_id}/status").read_text()


def test_an_engine_is_built_once_and_loads(options: BuildOptions, cache: Path) -> None:
    engine = ensure_engine(options)
    assert engine.library.is_relative_to(cache / "engines" / engine.name)
    assert number(engine) == 1
    assert engine.backends == ("cpu",)
    assert engine.tools is None
    assert ensure_engine(options) == engine
    assert find_engine() == engine
    assert not (cache / "work" / "cpu").exists()


def test_the_patches_are_in_unless_told_otherwise(options: BuildOptions) -> None:
    patched = ensure_engine(options).directory / "lib" / "libllama.so"
    plain = ensure_engine(BuildOptions(backend="cpu", unpatched=True)).directory
    assert b"patched_llama" in patched.read_bytes()
    assert b"patched_llama" not in (plain / "lib" / "libllama.so").read_bytes()


def test_an_engine_moves_as_a_whole(options: BuildOptions, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    ensure_engine(options).directory.rename(elsewhere)
    assert number(open_engine(elsewhere)) == 1


def test_a_changed_source_makes_the_engine_stale(
    options: BuildOptions, native: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = ensure_engine(options)
    (native / "number.h").write_text("#define NUMBER 2\n")
    with pytest.raises(EngineNotFound, match=rf"{old.name} is older.*pannier build"):
        find_engine()
    assert main(["engines"]) == 0
    assert "stale" in capsys.readouterr().out
    new = ensure_engine(options)
    assert number(new) == 2
    assert find_engine() == new
    assert main(["engines", "remove", "--stale"]) == 0
    assert stored_engines() == [new]


def test_without_an_engine_the_error_names_the_command() -> None:
    with pytest.raises(EngineNotFound, match=r"no engine has been built\. Run `pannier build`"):
        find_engine()
    with pytest.raises(EngineNotFound, match="pannier build --backend vulkan"):
        find_engine("vulkan")


def test_engines_made_to_compare_or_debug_are_not_found_by_default(options: BuildOptions) -> None:
    ensure_engine(BuildOptions(backend="cpu", unpatched=True))
    with pytest.raises(EngineNotFound):
        find_engine()


def test_the_environment_names_an_engine(
    options: BuildOptions, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    engine = ensure_engine(BuildOptions(backend="cpu", unpatched=True))
    monkeypatch.setenv("PANNIER_ENGINE", str(engine.directory))
    assert find_engine() == engine
    assert ensure_engine() == engine
    monkeypatch.setenv("PANNIER_ENGINE", str(tmp_path))
    with pytest.raises(EngineNotFound, match="PANNIER_ENGINE names no engine"):
        find_engine()
    monkeypatch.setenv("PANNIER_ENGINE", "cpu")
    assert ensure_engine() == find_engine("cpu")


def test_one_with_tools_also_serves_without(options: BuildOptions) -> None:
    rich = ensure_engine(BuildOptions(backend="cpu", tools=True))
    assert ensure_engine(options) == rich
    assert rich.tools is not None
    assert sorted(path.name for path in rich.tools.iterdir()) == sorted(TOOLS)
    for tool in rich.tools.iterdir():
        assert subprocess.run([tool], check=False).returncode == 0


def test_the_manifest_records_what_went_in_and_came_out(options: BuildOptions) -> None:
    engine = ensure_engine(options)
    record = json.loads((engine.directory / "manifest.json").read_text())
    assert record["ingredients"]["native"].keys() == {"CMakeLists.txt", "number.cpp", "number.h"}
    assert record["ingredients"]["patches"].keys() == {"second-number"}
    assert "lib/libpannier.so" in record["files"] or "lib/libpannier.dylib" in record["files"]
    assert damaged_files(engine.manifest, engine.directory) == []


def test_damage_is_found(options: BuildOptions, capsys: pytest.CaptureFixture[str]) -> None:
    engine = ensure_engine(options)
    assert main(["engines", "verify"]) == 0
    content = bytearray(engine.library.read_bytes())
    content[-1] ^= 1
    engine.library.write_bytes(content)
    assert main(["engines", "verify", engine.name]) == 1
    assert "has changed" in capsys.readouterr().out
    engine.library.unlink()
    with pytest.raises(EngineError, match="is missing"):
        open_engine(engine.directory)
    assert number(ensure_engine(options)) == 1


def test_remove_takes_a_name_or_the_start_of_a_key(options: BuildOptions) -> None:
    engine = ensure_engine(options)
    assert main(["engines", "remove", "nothing"]) == 1
    assert main(["engines", "remove"]) == 1
    assert main(["engines", "remove", engine.manifest.key[:8]]) == 0
    assert not engine.directory.exists()


def test_a_compiler_error_is_shown_and_leaves_no_engine(
    options: BuildOptions, native: Path, cache: Path
) -> None:
    (native / "bad.cpp").write_text("int bad() { return undeclared_name; }\n")
    with pytest.raises(BuildError, match="undeclared_name") as caught:
        ensure_engine(options)
    log = Path(str(caught.value).rsplit(" ", 1)[-1])
    assert "undeclared_name" in log.read_text()
    assert stored_engines() == []


def test_a_cache_that_cannot_be_written_is_named(
    options: BuildOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PANNIER_CACHE", str(tmp_path / "file"))
    with pytest.raises(BuildError, match=r"cannot build in .*/file.*PANNIER_CACHE"):
        ensure_engine(options)


def test_a_warning_in_our_own_files_is_an_error(options: BuildOptions, native: Path) -> None:
    (native / "bad.cpp").write_text("static int unused(int x) { return 1; }\n")
    with pytest.raises(BuildError, match="-Werror"):
        ensure_engine(options)


def test_a_working_copy_keeps_its_build_folder(
    options: BuildOptions, native: Path, tmp_path: Path, cache: Path
) -> None:
    checkout = tmp_path / "checkout"
    moved = checkout / "bindings" / "native"
    moved.parent.mkdir(parents=True)
    (checkout / "pyproject.toml").touch()
    shutil.copytree(native, moved)
    pannier.native.__path__[:] = [str(moved)]
    (moved / "gone.cpp").write_text("namespace { [[maybe_unused]] int gone = 1; }\n")
    first = ensure_engine(options)
    (moved / "gone.cpp").unlink()
    (moved / "number.h").write_text("#define NUMBER 5\n")
    second = ensure_engine(options)
    assert number(second) == 5
    log = (second.directory / "build.log").read_text()
    assert "number.cpp.o" in log
    assert "ggml.cpp.o" not in log
    assert first.directory != second.directory
    assert main(["engines", "remove", "--all"]) == 0
    assert not (cache / "work" / "cpu").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_build_leaves_no_engine_and_no_process(
    options: BuildOptions, tree: Path, tmp_path: Path, cache: Path, number: signal.Signals
) -> None:
    marker, script = tmp_path / "waiting", tmp_path / "wait.sh"
    script.write_text(f"echo $$ > {marker}\nexec sleep 600\n")
    with (tree / "CMakeLists.txt").open("a") as handle:
        handle.write(SLEEP.format(script=script))
    process = start("build", "--backend", "cpu")
    wait_for(lambda: ended(process) or (marker.exists() and bool(marker.read_text().strip())))
    process.send_signal(number)
    assert process.wait(timeout=30) != 0
    process.communicate()
    child = int(marker.read_text())
    wait_for(lambda: not is_running(child))
    assert stored_engines() == []
    assert list((cache / "work").glob("cpu/*")) == []


def test_two_builds_at_once_make_one_engine(options: BuildOptions) -> None:
    both = [start("build", "--backend", "cpu") for _ in range(2)]
    results = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert results[0][0] == results[1][0]
    built = [err for _, err in results if "building the cpu engine" in err]
    assert len(built) == 1
    assert len(stored_engines()) == 1


def test_the_sanitizers_look_at_our_files_only(options: BuildOptions, native: Path) -> None:
    (native / "number.h").write_text(OVERRUN)
    engine = ensure_engine(BuildOptions(backend="cpu", sanitize=("address", "undefined")))
    assert engine.manifest.preload
    assert b"__asan" in engine.library.read_bytes()
    assert b"__asan" not in (engine.library.parent / "libllama.so").read_bytes()
    code = "import ctypes, sys; ctypes.CDLL(sys.argv[1]).pannier_number()"
    result = subprocess.run(
        [sys.executable, "-c", code, str(engine.library)],
        env={
            **os.environ,
            "LD_PRELOAD": ":".join(engine.manifest.preload),
            "ASAN_OPTIONS": "detect_leaks=0",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode != 0
    assert "index 5 out of bounds" in result.stderr


def test_the_command_prints_the_folder_alone_on_stdout(
    options: BuildOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build"]) == 0
    first = capsys.readouterr()
    assert main(["build"]) == 0
    second = capsys.readouterr()
    assert first.out == second.out == f"{find_engine().directory}\n"
    assert "building" in first.err
    assert "building" not in second.err


def test_the_library_hides_all_but_its_interface(options: BuildOptions, native: Path) -> None:
    (native / "inner.cpp").write_text("int inner_part();\nint inner_part() { return 1; }\n")
    engine = ensure_engine(options)
    library = ctypes.CDLL(str(engine.library))
    assert not hasattr(library, "_Z10inner_partv")
    assert hasattr(library, "pannier_number")
