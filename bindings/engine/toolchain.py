"""The programs that a build needs: where they are, which version, what to install."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..errors import ToolchainError


@dataclass(frozen=True)
class Missing:
    """Something that is not there, and the packages that bring it."""

    what: str
    debian: str = ""
    fedora: str = ""
    brew: str = ""

    def __str__(self) -> str:
        """What is missing and, where a package brings it, how to install it here."""
        if not self.debian:
            return self.what
        if sys.platform == "darwin":
            command = f"brew install {self.brew or self.debian}"
        elif shutil.which("dnf") and self.fedora:
            command = f"dnf install {self.fedora}"
        else:
            command = f"apt-get install {self.debian}"
        return f"{self.what} ({command})"


@dataclass(frozen=True)
class Toolchain:
    """Paths of the programs of one build."""

    cmake: Path
    ninja: Path
    cc: Path
    cxx: Path
    ccache: Path | None


def find_toolchain() -> Toolchain:
    """The compiler and the build tools. Raises ToolchainError naming all that is missing."""
    cc, cxx = find_compilers()
    cmake, ninja = _wheel_tool("cmake"), _wheel_tool("ninja")
    refuse(_missing_basics(cc, cxx, cmake, ninja))
    assert cc and cxx and cmake and ninja
    return Toolchain(cmake, ninja, cc, cxx, which("ccache"))


def refuse(missing: Sequence[Missing]) -> None:
    """Raise ToolchainError when anything is missing."""
    if missing:
        names = "; ".join(str(item) for item in missing)
        raise ToolchainError(f"cannot build the engine, missing: {names}. Then try again")


def find_compilers() -> tuple[Path | None, Path | None]:
    """The C and the C++ compiler: CC and CXX, else a pair of the same family."""
    cxx = which(os.environ.get("CXX") or "") or _first(("c++", "g++", "clang++"))
    cc = which(os.environ.get("CC") or "") or _first(("cc", "gcc", "clang"))
    return cc, cxx


@cache
def version_of(program: Path | None, *arguments: str) -> str:
    """What a program says about its version, its path included; "" when there is none."""
    if program is None:
        return ""
    result = subprocess.run(
        [program, *(arguments or ("--version",))],
        capture_output=True,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        check=False,
    )
    return f"{program} {' '.join(result.stdout.split())}"


def cpu_identity() -> str:
    """What a native build depends on: architecture and features of this processor."""
    wanted = ("model name", "flags", "Features", "CPU implementer", "CPU part", "isa")
    try:
        block = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return f"{platform.machine()} {platform.processor()} {_mac_cpu()}"
    lines = [line for line in block.splitlines() if line.split("\t")[0].strip(" :") in wanted]
    return "\n".join([platform.machine(), *lines])


def which(name: str) -> Path | None:
    """Like shutil.which, as a Path."""
    found = shutil.which(name) if name else None
    return Path(found) if found else None


def _missing_basics(
    cc: Path | None, cxx: Path | None, cmake: Path | None, ninja: Path | None
) -> list[Missing]:
    missing = []
    if cxx is None or cc is None:
        what = "a C++ compiler" if cxx is None else "a C compiler"
        missing.append(Missing(what, "g++", "gcc-c++", "llvm"))
    if cmake is None:
        missing.append(Missing("cmake", "cmake", "cmake", "cmake"))
    if ninja is None:
        missing.append(Missing("ninja", "ninja-build", "ninja-build", "ninja"))
    if which("git") is None:
        missing.append(Missing("git, which applies the patches", "git", "git", "git"))
    return missing


def _wheel_tool(name: str) -> Path | None:
    """A tool of the PyPI wheel `name`, else the one on PATH.

    The wheels keep the real program beside their data; importing them would
    cost more than looking.
    """
    from importlib.util import find_spec

    spec = find_spec(name)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        for candidate in (Path(place, "data", "bin", name), Path(place, "bin", name)):
            if candidate.is_file():
                return candidate
    scripts = {sysconfig.get_path("scripts"), sysconfig.get_path("scripts", "posix_user")}
    beside = (Path(folder, name) for folder in sorted(scripts))
    return next((path for path in beside if path.is_file()), None) or which(name)


def _first(names: Iterable[str]) -> Path | None:
    return next((path for name in names if (path := which(name))), None)


def _mac_cpu() -> str:
    sysctl = which("sysctl")
    return version_of(sysctl, "-n", "machdep.cpu.brand_string") if sysctl else ""
