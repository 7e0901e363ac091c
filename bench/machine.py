"""What every result says about where it was measured."""

from __future__ import annotations

import subprocess
from pathlib import Path

from pannier.bench.provenance import machine

__all__ = ["machine", "revision"]


def revision() -> str:
    """The commit that was measured."""
    here = Path(__file__).parent
    command = ["git", "describe", "--always", "--dirty"]
    answer = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or "unknown"
