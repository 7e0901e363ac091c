"""A process's memory as the system sees it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ..errors import ServerError


def resident_bytes(pid: int) -> int:
    """Memory that a process holds, without pages of files on Linux: the kernel takes those back
    at need. Raises ServerError where nobody says."""
    status = Path(f"/proc/{pid}/status")
    try:
        if status.exists():
            return of_status(status.read_text())
        command = ["ps", "-o", "rss=", "-p", str(pid)]
        return int(subprocess.run(command, capture_output=True, check=True).stdout) * 1024
    except (OSError, KeyError, ValueError, subprocess.SubprocessError) as error:
        raise ServerError(f"cannot tell the memory of process {pid}: {error}") from error


def of_status(text: str) -> int:
    """By the lines of Linux's `/proc/PID/status`."""
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return sum(int(fields[name].split()[0]) for name in ("RssAnon", "RssShmem")) * 1024
