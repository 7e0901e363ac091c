"""Where a result is from: every file of results says so."""

from __future__ import annotations

import os
import platform
from datetime import date
from importlib.metadata import version
from typing import Any

from ..planner.machine import processor
from ..third_party import LLAMA_CPP


def machine() -> dict[str, Any]:
    """Processor, cores, memory and versions of what lies under us."""
    return {
        "cpu": processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "kernel": platform.release(),
    }


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
