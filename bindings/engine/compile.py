"""Compile a recipe in a scratch folder: copy, patch, configure, run ninja, watch it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from ..errors import BuildError
from .archive import BUILD_PARTS, tree_files
from .backends import find_nvcc
from .progress import Report, progress
from .recipe import Recipe, native_directory, native_hashes
from .series import Patch, apply_series
from .toolchain import cpu_identity

LAST_LINES = 30
STEP = re.compile(r"\[(\d+)/(\d+)\] (.*)")
LIBRARY_SUFFIXES = (".so", ".dylib", ".metal")


def compile_engine(recipe: Recipe, work: Path, log: Path, verbose: bool = False) -> Path:
    """Build `recipe` in the folder `work`; return the folder with what ninja made.

    What an earlier build of the same llama.cpp left in `work` is taken up again.
    `log` takes all output. Raises BuildError with its last lines, and
    SourceError or PatchError before anything is compiled. Whatever ends the
    call early, the processes that it started are gone afterwards.
    """
    lay_out_base(recipe, work)
    copy_native(recipe, work / "native")
    environment = compile_environment(recipe, work)
    with (
        log.open("w", encoding="utf-8", buffering=1) as handle,
        progress("building the engine") as report,
    ):
        watch = _Watch(handle, log, report, verbose)
        watch.run(configure_command(recipe, work), work, environment)
        watch.run(build_command(recipe, work / "build"), work, environment)
    return work / "build" / "bin"


def lay_out_base(recipe: Recipe, work: Path) -> None:
    """Put the patched tree into `work`, unless it is there; empty `work` of any other first."""
    stamp = work / "base.txt"
    if stamp.is_file() and stamp.read_text() == recipe.base_key:
        return
    shutil.rmtree(work, ignore_errors=True)
    lay_out(recipe.source.tree(), recipe.patches, work / "llama.cpp")
    stamp.write_text(recipe.base_key)


def lay_out(tree: Path, patches: Sequence[Patch], destination: Path) -> None:
    """Copy what a build reads of a llama.cpp tree and apply the patches to the copy."""
    touched = {name for patch in patches for name in patch.touched}
    wanted = {*tree_files(tree, BUILD_PARTS), *(tree / name for name in touched)}
    for path in sorted(path for path in wanted if path.is_file()):
        target = destination / path.relative_to(tree)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    apply_series(destination, patches)


def copy_native(recipe: Recipe, destination: Path) -> None:
    """Bring the copy of libpannier's sources up to date; unchanged files keep their time.

    Building a copy makes sure that an engine is of what its key names. Raises
    BuildError when the sources changed since the key was made.
    """
    root, wanted = native_directory(), recipe.ingredients["native"]
    present = native_hashes(destination)
    for name in present.keys() - wanted.keys():
        (destination / name).unlink()
    for name in (name for name, digest in wanted.items() if present.get(name) != digest):
        (destination / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, destination / name)
    if native_hashes(destination) != wanted:
        raise BuildError(f"the sources in {root} changed as the build began: start it again")


def configure_command(recipe: Recipe, work: Path) -> list[str]:
    """The CMake command line."""
    tools = recipe.toolchain
    definitions = {
        **recipe.definitions,
        "PANNIER_LLAMA_DIR": str(work / "llama.cpp"),
        "CMAKE_MAKE_PROGRAM": str(tools.ninja),
        "CMAKE_C_COMPILER": str(tools.cc),
        "CMAKE_CXX_COMPILER": str(tools.cxx),
    }
    if recipe.options.backend == "cuda" and (nvcc := find_nvcc()):
        definitions["CMAKE_CUDA_COMPILER"] = str(nvcc)
    if tools.ccache:
        languages = ("C", "CXX", *(("CUDA",) if recipe.options.backend == "cuda" else ()))
        definitions |= {f"CMAKE_{name}_COMPILER_LAUNCHER": str(tools.ccache) for name in languages}
    command = [str(tools.cmake), "-S", str(work / "native"), "-B", str(work / "build")]
    return [*command, "-G", "Ninja", *(f"-D{name}={value}" for name, value in definitions.items())]


def build_command(recipe: Recipe, build: Path) -> list[str]:
    """The ninja command line."""
    jobs = recipe.options.jobs or _processors()
    return [str(recipe.toolchain.ninja), "-C", str(build), "-j", str(jobs), *recipe.targets]


def compile_environment(recipe: Recipe, work: Path) -> dict[str, str]:
    """The environment of CMake and ninja.

    ccache sees paths relative to `work`, so that another build folder hits too;
    the processor's features count as input, as -march=native does not name them.
    """
    fingerprint = work / "cpu.txt"
    fingerprint.write_text(cpu_identity())
    tools = recipe.toolchain
    path = [str(tools.cmake.parent), str(tools.ninja.parent), os.environ.get("PATH", os.defpath)]
    return {
        **os.environ,
        "PATH": os.pathsep.join(path),
        "NINJA_STATUS": "[%f/%t] ",
        "GIT_CEILING_DIRECTORIES": str(work.resolve().parent),
        "CCACHE_BASEDIR": str(work),
        "CCACHE_NOHASHDIR": "1",
        "CCACHE_EXTRAFILES": str(fingerprint),
        "CCACHE_SLOPPINESS": "time_macros,include_file_mtime,include_file_ctime",
    }


def products(bin_directory: Path) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """The libraries and the programs that a build left in its folder."""
    files = sorted(path for path in bin_directory.iterdir() if path.is_file())
    libraries = tuple(path for path in files if path.suffix in LIBRARY_SUFFIXES)
    programs = tuple(path for path in files if path not in libraries and os.access(path, os.X_OK))
    return libraries, programs


class _Watch:
    """Runs commands, copies their output to the log and their counts to the progress."""

    def __init__(self, log: TextIO, log_path: Path, report: Report, verbose: bool) -> None:
        self._log = log
        self._log_path = log_path
        self._report = report
        self._verbose = verbose
        self._total = 0
        self._last: deque[str] = deque(maxlen=LAST_LINES)

    def run(self, command: Sequence[str], work: Path, environment: dict[str, str]) -> None:
        """Run one command to its end. Raises BuildError when it fails."""
        self._log.write(f"$ {' '.join(command)}\n")
        with _process(command, work, environment) as process:
            for line in process.stdout or ():
                self._take(line)
            status = process.wait()
        self._log.flush()
        if status:
            self._fail(command[0], status)

    def _take(self, line: str) -> None:
        self._log.write(line)
        self._last.append(line.rstrip())
        if self._verbose:
            sys.stderr.write(line)
        step = STEP.match(line)
        if step and int(step[2]) > self._total // 2:  # less is a build inside the build
            self._total = int(step[2])
            self._report(int(step[1]), self._total, step[3].rsplit("/", 1)[-1].strip())

    def _fail(self, program: str, status: int) -> None:
        tail = "\n".join(self._last)
        raise BuildError(
            f"the build failed: {Path(program).name} ended with status {status}. "
            f"Its last lines:\n{tail}\nThe whole log is {self._log_path}"
        )


@contextmanager
def _process(
    command: Sequence[str], work: Path, environment: dict[str, str]
) -> Iterator[subprocess.Popen[str]]:
    """A child in a process group of its own, which is gone when the block ends."""
    process = subprocess.Popen(
        command,
        cwd=work,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        with _terminate_raises():
            yield process
    finally:
        _end_group(process)


@contextmanager
def _terminate_raises() -> Iterator[None]:
    """Turn SIGTERM into an exception while a child runs, so that it is cleaned up."""

    def stop(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not the main thread: no handlers here
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end_group(process: subprocess.Popen[str]) -> None:
    """End a child and everything it started; ask first, so that compilers remove their files."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(timeout=2)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue
    if process.stdout is not None:
        process.stdout.close()
    process.wait()


def _processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
