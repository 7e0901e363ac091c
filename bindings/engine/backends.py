"""The backends: which device each needs, what it takes to build, and which to prefer."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import devices
from .options import BACKENDS, BuildOptions
from .toolchain import Missing, find_compilers, which

NVCC_PLACES = ("/usr/local/cuda/bin/nvcc", "/opt/cuda/bin/nvcc")
SYSTEM_LIBRARIES = ("/usr/lib", "/usr/lib64", "/usr/lib/*-linux-gnu")
HIPCC_PLACES = ("/opt/rocm/bin/hipcc",)


@dataclass(frozen=True)
class Backend:
    """One way of running llama.cpp's graphs."""

    name: str
    card: Callable[[], str | None]
    """Says which device is there, or None."""
    missing: Callable[[BuildOptions], Sequence[Missing]]
    """What a build lacks on this machine."""


@dataclass(frozen=True)
class Choice:
    """The backend taken, and why."""

    backend: str
    reasons: tuple[str, ...]


def choose_backend() -> Choice:
    """The best backend that this machine has a device for and can build."""
    reasons: list[str] = []
    for name in BACKENDS:
        backend = KNOWN[name]
        card = backend.card()
        if card is None:
            continue
        missing = backend.missing(BuildOptions())
        if not missing:
            return Choice(name, (f"{name}: {card}", *reasons))
        reasons.append(f"not {name} although there is {card}, missing: {_list(missing)}")
    raise AssertionError("the CPU backend is always there")


def missing_for(options: BuildOptions) -> list[Missing]:
    """What this machine lacks to build `options.backend`."""
    return list(KNOWN[options.backend].missing(options))


def cuda_architectures(options: BuildOptions) -> tuple[str, ...]:
    """The CUDA architectures to compile for: those given, else those of the cards."""
    if options.cuda_architectures:
        return options.cuda_architectures
    return tuple(f"{capability}-real" for capability in devices.compute_capabilities())


def find_nvcc() -> Path | None:
    """CUDA's compiler: CUDACXX, PATH, then the usual places."""
    return _program(os.environ.get("CUDACXX", ""), "nvcc", NVCC_PLACES)


def find_hipcc() -> Path | None:
    """ROCm's compiler driver."""
    return _program("", "hipcc", HIPCC_PLACES)


def has_header(header: str) -> bool:
    """Whether the C++ compiler finds `<header>`, a Vulkan SDK's folder included."""
    _, cxx = find_compilers()
    if cxx is None:
        return False
    sdk = os.environ.get("VULKAN_SDK")
    include = ["-I", f"{sdk}/include"] if sdk else []
    result = subprocess.run(
        [cxx, "-x", "c++", "-E", "-P", *include, "-"],
        input=f"#if __has_include(<{header}>)\npresent\n#endif\n",
        capture_output=True,
        text=True,
        check=False,
    )
    return "present" in result.stdout


def _missing_cuda(options: BuildOptions) -> list[Missing]:
    missing = []
    nvcc = find_nvcc()
    if nvcc is None:
        missing.append(Missing("nvcc, CUDA's compiler", "nvidia-cuda-toolkit", "cuda-toolkit"))
    elif "CUDA_cublas_LIBRARY" not in dict(options.definitions) and not _has_cublas(nvcc):
        missing.append(Missing("cuBLAS beside nvcc", "libcublas-dev", "libcublas-devel"))
    if not cuda_architectures(options):
        missing.append(Missing("an NVIDIA card, or --cuda-architectures such as 90"))
    return missing


def _has_cublas(nvcc: Path) -> bool:
    """Whether the toolkit of `nvcc`, or the system, has cuBLAS to link with."""
    command = [str(nvcc), "--dryrun", "-c", "-x", "cu", os.devnull, "-o", os.devnull]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    folders = [*re.findall(r'-L([^"\s]+)', result.stderr + result.stdout), *SYSTEM_LIBRARIES]
    return any(path for folder in folders for path in Path("/").glob(f"{folder[1:]}/libcublas.so"))


def _missing_hip(options: BuildOptions) -> list[Missing]:
    if find_hipcc() is None:
        packages = "hipcc libamdhip64-dev libhipblas-dev librocblas-dev"
        fedora = "rocm-hip-devel hipblas-devel rocblas-devel"
        return [Missing("hipcc, ROCm's compiler", packages, fedora)]
    return []


def _missing_vulkan(options: BuildOptions) -> list[Missing]:
    needs = []
    if not has_header("vulkan/vulkan.hpp"):
        headers = Missing("Vulkan's C++ headers", "libvulkan-dev", "vulkan-devel", "vulkan-headers")
        needs.append(headers)
    if which("glslc") is None:
        needs.append(Missing("glslc, the shader compiler", "glslc", "glslc", "shaderc"))
    if not has_header("spirv/unified1/spirv.hpp"):
        package = "spirv-headers"
        needs.append(Missing("SPIR-V headers", package, "spirv-headers-devel", package))
    return needs


def _missing_metal(options: BuildOptions) -> list[Missing]:
    if devices.metal_card() is None:
        return [Missing("macOS, the only system with Metal")]
    return []


def _program(given: str, name: str, places: Sequence[str]) -> Path | None:
    found = which(given) or which(name)
    return found or next((Path(place) for place in places if Path(place).is_file()), None)


def _list(missing: Sequence[Missing]) -> str:
    return "; ".join(str(item) for item in missing)


KNOWN = {
    "cuda": Backend("cuda", devices.nvidia_card, _missing_cuda),
    "metal": Backend("metal", devices.metal_card, _missing_metal),
    "hip": Backend("hip", devices.amd_card, _missing_hip),
    "vulkan": Backend("vulkan", devices.vulkan_card, _missing_vulkan),
    "cpu": Backend("cpu", lambda: "no GPU that could be used", lambda options: ()),
}
