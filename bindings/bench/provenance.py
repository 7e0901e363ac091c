"""Where a result is from: every file of results says so."""

from __future__ import annotations

import os
import platform
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..third_party import LLAMA_CPP


def machine() -> dict[str, Any]:
    """Processor, cores, memory and versions of what lies under us."""
    return {
        "cpu": processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "kernel": platform.release(),
    }


def processor() -> str:
    """Its name as Linux tells it, or Python."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())


def head(bench: str, command: list[str]) -> dict[str, Any]:
    """The first fields of a result."""
    return {
        "bench": bench,
        "date": date.today().isoformat(),
        "command": " ".join(command),
        "pannier": version("pannier"),
        "llama.cpp": f"b{LLAMA_CPP.build_number}",
        "machine": machine(),
    }
