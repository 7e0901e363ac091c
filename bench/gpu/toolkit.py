"""Where CUDA's parts are: beside nvcc, or in Python's site-packages as PyPI's wheels put them.

nvcc's own folder often lacks cuBLAS, and the driver's library is not always where
CMake looks. What CMake would not find by itself is named to it.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

DRIVER_PLACES = (
    "/usr/local/nvidia/lib64",
    "/usr/local/nvidia/lib",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib64",
    "/usr/lib/wsl/lib",
)


@dataclass
class Toolkit:
    """What to tell CMake and the loader."""

    definitions: dict[str, str] = field(default_factory=dict)
    library_folders: list[str] = field(default_factory=list)
    """For LD_LIBRARY_PATH."""
    notes: list[str] = field(default_factory=list)


def find_toolkit() -> Toolkit:
    """Look around; what is not found is noted, not raised: CMake's message says it better."""
    kit = Toolkit()
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        kit.notes.append("no nvcc on PATH")
        return kit
    roots = [root_of(nvcc)]
    kit.library_folders += [str(path) for path in library_folders(roots[0])]
    _find_cublas(kit, roots[0])
    _find_driver(kit, roots[0])
    return kit


def root_of(nvcc: str) -> Path:
    """The toolkit's folder, also behind a script that calls the real nvcc."""
    path = Path(nvcc).resolve()
    if path.stat().st_size < 4096:
        words = path.read_text(errors="replace").split()
        path = next((Path(w) for w in words if w.endswith("/bin/nvcc") and Path(w).exists()), path)
    return path.resolve().parents[1]


def library_folders(root: Path) -> list[Path]:
    """Folders of a toolkit that hold its shared libraries."""
    names = ("lib64", "lib", "targets/x86_64-linux/lib")
    return [root / name for name in names if any((root / name).glob("libcudart.so*"))][:1]


def _find_cublas(kit: Toolkit, root: Path) -> None:
    homes = (root, root / "targets/x86_64-linux")
    if any(_has_header(home) for home in homes) and any(
        (home / lib / "libcublas.so").exists() for home in homes for lib in ("lib64", "lib")
    ):
        return
    for folder in (*homes, *wheel_folders()):
        library = next(folder.glob("lib/libcublas.so*"), None)
        if library and _has_header(folder):
            light = next(folder.glob("lib/libcublasLt.so*"))
            kit.definitions["CUDA_cublas_LIBRARY"] = str(library)
            kit.definitions["CUDA_cublasLt_LIBRARY"] = str(light)
            kit.definitions["CMAKE_CUDA_FLAGS"] = f"-isystem {folder / 'include'}"
            kit.library_folders.append(str(library.parent))
            kit.notes.append(f"cuBLAS from {folder}")
            return
    kit.notes.append(f"no cuBLAS in {root} nor among Python's packages")


def _has_header(folder: Path) -> bool:
    return (folder / "include" / "cublas_v2.h").is_file()


def wheel_folders() -> Iterator[Path]:
    """Folders of NVIDIA's wheels on this Python's path, those of the newest CUDA first."""
    for entry in sys.path:
        if entry and (nvidia := Path(entry, "nvidia")).is_dir():
            yield from (path for path in sorted(nvidia.glob("cu*"), reverse=True) if path.is_dir())


def _find_driver(kit: Toolkit, root: Path) -> None:
    place = next((path for path in DRIVER_PLACES if Path(path, "libcuda.so.1").is_file()), None)
    if place and not place.startswith("/usr/lib"):  # the loader looks there by itself
        kit.library_folders.append(place)
    if any((root / name / "stubs" / "libcuda.so").is_file() for name in ("lib64", "lib")):
        return
    if place:
        kit.definitions["CUDA_cuda_driver_LIBRARY"] = f"{place}/libcuda.so.1"
        kit.notes.append(f"linked with the driver's library in {place}")
    else:  # then ggml allocates with cudaMalloc in place of virtual memory
        kit.definitions["GGML_CUDA_NO_VMM"] = "ON"
        kit.notes.append("no libcuda to link with: built with GGML_CUDA_NO_VMM")
