"""Everything that goes into one engine, and the key that it makes together."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import SourceError
from ..third_party import LLAMA_CPP
from . import backends
from .options import BuildOptions
from .series import Patch, read_bench_patches, read_series
from .source import Source, locate_source
from .toolchain import Toolchain, cpu_identity, find_toolchain, refuse, version_of, which

SOURCE_SUFFIXES = (".c", ".cc", ".cpp", ".cu", ".cuh", ".h", ".hpp", ".inc")
TOOLS = (
    "llama-batched-bench",
    "llama-bench",
    "llama-imatrix",
    "llama-perplexity",
    "llama-quantize",
    "llama-server",
)
"""llama.cpp's programs that `tools` brings."""
RPC_SERVER = "ggml-rpc-server"


@dataclass(frozen=True)
class Recipe:
    """One engine before it is built. `options.backend` is never "auto" here."""

    options: BuildOptions
    source: Source
    patches: tuple[Patch, ...]
    toolchain: Toolchain

    @property
    def backends(self) -> tuple[str, ...]:
        """The backends of the engine, the main one first."""
        names = [self.options.backend]
        names += ["cpu"] if self.options.backend != "cpu" else []
        return (*names, "rpc") if self.options.rpc else tuple(names)

    @property
    def targets(self) -> tuple[str, ...]:
        """What to ask of ninja."""
        tools = TOOLS if self.options.tools else ()
        server = (RPC_SERVER,) if self.options.rpc else ()
        return ("pannier", *tools, *server)

    @cached_property
    def definitions(self) -> dict[str, str]:
        """CMake definitions, those that name folders left out."""
        return cmake_definitions(self.options)

    @cached_property
    def ingredients(self) -> dict[str, Any]:
        """What the key is made of, as plain values."""
        return {
            "source": self.source.identity,
            "patches": {patch.slug: _sha256(patch.text) for patch in self.patches},
            "native": native_hashes(native_directory()),
            "definitions": self.definitions,
            "targets": list(self.targets),
            "compilers": self._compilers(),
            "cpu": cpu_identity(),
        }

    @cached_property
    def key(self) -> str:
        """Hash over the ingredients, in hex."""
        return _sha256(json.dumps(self.ingredients, sort_keys=True))

    @property
    def base_key(self) -> str:
        """Hash over what llama.cpp's own files are compiled from; ours may change under it."""
        own = ("native", "targets")
        base = {name: value for name, value in self.ingredients.items() if name not in own}
        return _sha256(json.dumps(base, sort_keys=True))

    @property
    def variant(self) -> str:
        """A short name for the choices, the same whatever the sources say."""
        flags = {
            "rpc": self.options.rpc,
            "tools": self.options.tools,
            "unpatched": self.options.unpatched,
        }
        named = [name for name, on in flags.items() if on]
        extras = (*self.options.bench_patches, *self.options.sanitize)
        return "-".join([self.options.backend, *named, *extras])

    def _compilers(self) -> dict[str, str]:
        programs: dict[str, Path | None] = {"cc": self.toolchain.cc, "cxx": self.toolchain.cxx}
        if self.options.backend == "cuda":
            programs["nvcc"] = backends.find_nvcc()
        if self.options.backend == "hip":
            programs["hipcc"] = backends.find_hipcc()
        if self.options.backend == "vulkan":
            programs["glslc"] = which("glslc")
        return {name: version_of(program) for name, program in programs.items()}


def make_recipe(options: BuildOptions) -> Recipe:
    """Settle what `options` leave open. Nothing is fetched or built.

    Raises ToolchainError when something to build with is missing, PatchError
    for a damaged series, SourceError for a source that is not there.
    """
    if options.backend == "auto":
        options = options.with_backend(backends.choose_backend().backend)
    toolchain = find_toolchain()
    refuse(backends.missing_for(options))
    return Recipe(options, locate_source(options.source), patches_of(options), toolchain)


def rebuild_key(options: BuildOptions, source_identity: str) -> str | None:
    """The key that an engine of these options has now, or None when it cannot be built here.

    A source that has gone since counts as unchanged.
    """
    try:
        source = locate_source(options.source)
    except SourceError:
        source = Source(source_identity, options.source)
    return Recipe(options, source, patches_of(options), find_toolchain()).key


def patches_of(options: BuildOptions) -> tuple[Patch, ...]:
    """The series, unless it is left out, and what is measured on top of it. Raises PatchError."""
    series = () if options.unpatched else read_series()
    return (*series, *read_bench_patches(options.bench_patches))


def cmake_definitions(options: BuildOptions) -> dict[str, str]:
    """CMake definitions of an engine; equal for llama.cpp's own files whatever the backend."""
    definitions = {
        "CMAKE_BUILD_TYPE": "Release",
        "LLAMA_BUILD_NUMBER": str(LLAMA_CPP.build_number),
        "LLAMA_BUILD_COMMIT": "unpatched" if options.unpatched else "pannier",
        "GGML_NATIVE": "ON",
        "GGML_METAL": _switch(options.backend == "metal"),
        "GGML_CUDA": _switch(options.backend == "cuda"),
        "GGML_HIP": _switch(options.backend == "hip"),
        "GGML_VULKAN": _switch(options.backend == "vulkan"),
        "GGML_RPC": _switch(options.rpc),
        "PANNIER_SANITIZE": ",".join(options.sanitize),
    }
    if options.backend == "cuda":
        definitions["CMAKE_CUDA_ARCHITECTURES"] = ";".join(backends.cuda_architectures(options))
        definitions["GGML_CUDA_FA_QUANTS"] = "all"
    return {**definitions, **dict(options.definitions)}


def native_directory() -> Path:
    """Our C++ sources."""
    from .. import native

    return Path(native.__path__[0])


def is_checkout() -> bool:
    """Whether the sources are a developer's working copy, not an installed package."""
    return (native_directory().parent.parent / "pyproject.toml").is_file()


def native_files(root: Path) -> tuple[Path, ...]:
    """The files of libpannier that a build reads, in a copy of the native folder."""
    names = ("CMakeLists.txt",)
    found = (
        path for path in root.rglob("*") if path.suffix in SOURCE_SUFFIXES or path.name in names
    )
    return tuple(sorted(found))


def native_hashes(root: Path) -> dict[str, str]:
    """Hash of each native file, by its path relative to the native folder."""
    files = native_files(root)
    return {path.relative_to(root).as_posix(): _digest(path.read_bytes()) for path in files}


def _switch(on: bool) -> str:
    return "ON" if on else "OFF"


def _sha256(text: str) -> str:
    return _digest(text.encode())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
