"""The engines in the cache folder: publish, list, find by key, remove.

An engine is a folder BACKEND-KEY with lib/, bin/ and manifest.json. It appears
by one rename when all is in it, so what can be seen is whole.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import EngineError
from .cache import cache_directory, locked
from .compile import products
from .manifest import Manifest, make_manifest, read_manifest, write_manifest
from .recipe import Recipe, is_checkout

KEY_DIGITS = 16
LIBRARY_NAME = "libpannier.dylib" if sys.platform == "darwin" else "libpannier.so"


@dataclass(frozen=True)
class Engine:
    """A built engine."""

    directory: Path
    manifest: Manifest

    @property
    def library(self) -> Path:
        """libpannier; it finds llama.cpp's libraries beside itself."""
        return self.directory / "lib" / LIBRARY_NAME

    @property
    def backends(self) -> tuple[str, ...]:
        """The backends inside, the main one first: ("vulkan", "cpu")."""
        return self.manifest.backends

    @property
    def tools(self) -> Path | None:
        """Folder of llama.cpp's programs, or None when built without."""
        return self.directory / "bin" if self.manifest.options.tools else None

    @property
    def name(self) -> str:
        """The folder's name, which `pannier engines` shows and takes."""
        return self.directory.name


def engines_directory() -> Path:
    """Where engines are kept."""
    return cache_directory() / "engines"


def work_directory() -> Path:
    """Where engines are built."""
    return cache_directory() / "work"


def engine_name(recipe: Recipe) -> str:
    """Folder name of the engine that `recipe` makes."""
    return f"{recipe.options.backend}-{recipe.key[:KEY_DIGITS]}"


def open_engine(directory: Path) -> Engine:
    """The engine in `directory`. Raises EngineError when there is none or it is not whole."""
    engine = Engine(directory, read_manifest(directory))
    if not engine.library.is_file():
        raise EngineError(
            f"no engine in {directory}: {engine.library.name} is missing. "
            f"Remove it with `pannier engines remove {engine.name}` and run `pannier build`"
        )
    return engine


def stored_engine(recipe: Recipe) -> Engine | None:
    """The engine of this very recipe, when it is built and whole."""
    try:
        engine = open_engine(engines_directory() / engine_name(recipe))
    except EngineError:
        return None
    return engine if engine.manifest.key == recipe.key else None


def stored_engines() -> list[Engine]:
    """All engines of the store, newest first; folders that hold none are passed over."""
    engines = []
    for directory in engines_directory().glob("*-*"):
        try:
            engines.append(open_engine(directory))
        except EngineError:
            continue
    return sorted(engines, key=lambda engine: engine.manifest.built_at, reverse=True)


@contextmanager
def building(recipe: Recipe) -> Iterator[Path]:
    """Hold the right to build this variant, and the folder to do it in.

    A second process waits here. A developer's working copy keeps the folder:
    when only our own files changed, the next build is a matter of seconds.
    """
    work = work_directory() / recipe.variant
    with locked(work.with_suffix(".lock"), f"the {recipe.variant} engine"):
        try:
            yield work
        finally:
            if not is_checkout():
                shutil.rmtree(work, ignore_errors=True)


def publish(recipe: Recipe, made: Path, work: Path, log: Path) -> Engine:
    """Put what a build left in `made` into the store, whole or not at all."""
    staging = work / "engine"
    shutil.rmtree(staging, ignore_errors=True)
    libraries, programs = products(made)
    for folder, files in (("lib", libraries), ("bin", programs)):
        (staging / folder).mkdir(parents=True)
        for path in files:
            shutil.copy(path, staging / folder / path.name)
    shutil.copyfile(log, staging / "build.log")
    write_manifest(make_manifest(recipe, staging, _preload(recipe)), staging)
    home = engines_directory() / engine_name(recipe)
    home.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(home, ignore_errors=True)
    staging.rename(home)
    return open_engine(home)


def remove_work() -> None:
    """Delete what working copies keep for their next build; wait for builds that run."""
    for lock in work_directory().glob("*.lock"):
        with locked(lock, f"the {lock.stem} engine"):
            shutil.rmtree(lock.with_suffix(""), ignore_errors=True)


def remove(engine: Engine) -> None:
    """Delete an engine; it stops being one with the first step."""
    grave = engine.directory.with_name(f".{engine.name}.removed")
    shutil.rmtree(grave, ignore_errors=True)
    engine.directory.rename(grave)
    shutil.rmtree(grave)


def _preload(recipe: Recipe) -> list[str]:
    """What must come first in a process: the address sanitiser's runtime and the C++ library.

    The runtime looks for the function that throws when it starts, and Python is
    no C++ program: without the library, the first exception would be its end.
    """
    if "address" not in recipe.options.sanitize:
        return []
    runtimes = ("libasan.so", "libclang_rt.asan-x86_64.so", "libclang_rt.asan.so")
    runtime = next(filter(None, (_compiler_file(recipe, name) for name in runtimes)), None)
    library = _compiler_file(recipe, "libstdc++.so.6")
    return [path for path in (runtime, library) if path]


def _compiler_file(recipe: Recipe, name: str) -> str | None:
    """Full path of a library that the compiler knows; None if it does not."""
    command = [str(recipe.toolchain.cxx), f"-print-file-name={name}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    path = Path(result.stdout.strip())
    return str(path.resolve()) if path.is_absolute() else None
