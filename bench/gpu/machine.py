"""What a results file says about the machine."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

GPU_FIELDS = ("name", "driver_version", "memory.total", "compute_cap", "pstate", "power.limit")
PACKAGES = (
    *("pannier", "numpy", "gguf", "fastapi", "uvicorn", "uvloop", "pydantic", "nvidia-ml-py"),
    *("pytest", "torch"),
)


def describe() -> dict[str, Any]:
    """Processor, memory, GPUs, compilers, versions."""
    return {
        "cpu": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release().split("-")[0],
        "system": system(),
        "gpus": gpus(),
        "nvcc": first_line("nvcc", "--version", having="release"),
        "gcc": first_line("g++", "--version"),
        "cmake": first_line("cmake", "--version"),
        "ninja": first_line("ninja", "--version"),
        "ccache": first_line("ccache", "--version"),
        "git": first_line("git", "--version"),
    }


def versions(site: Path) -> dict[str, str]:
    """Versions of the Python packages in use."""
    found = {"python": platform.python_version()}
    for path in ([str(site)], sys.path):
        for package in PACKAGES:
            first = next(iter(metadata.distributions(name=package, path=path)), None)
            if package not in found and first:
                found[package] = first.version
    return found


def gpus() -> list[dict[str, str]]:
    """The NVIDIA cards, as nvidia-smi tells them."""
    command = ["nvidia-smi", f"--query-gpu={','.join(GPU_FIELDS)}", "--format=csv,noheader"]
    rows = [line.split(", ") for line in answer(command).splitlines() if ", " in line]
    return [dict(zip(GPU_FIELDS, row, strict=False)) for row in rows]


def processor() -> str:
    """The processor's name."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def system() -> str:
    """The distribution's name."""
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def first_line(*command: str, having: str = "") -> str:
    """The first line with `having` in it that a program prints; "" when there is none."""
    lines = answer(list(command)).strip().splitlines()
    return next((line for line in lines if having in line), "")


def answer(command: list[str]) -> str:
    """What a program prints on stdout; "" when it is not there or does not answer."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        result = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout
