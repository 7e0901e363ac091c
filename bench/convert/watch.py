"""Run a command and watch its memory and disk: the whole process tree, ten times a second."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

INTERVAL_S = 0.1


@dataclass
class Watched:
    """What a command took."""

    wall_s: float = 0.0
    peak_rss_bytes: int = 0
    """Largest sum of the resident memory of the processes of the tree, file pages included."""
    peak_anonymous_bytes: int = 0
    """The same without file pages, which the kernel takes back when it likes."""
    peak_disk_bytes: int = 0
    """Most that the watched folder held beyond what it held before."""
    samples: int = field(default=0)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def watch(command: list[str], folder: Path, environment: dict[str, str] | None = None) -> Watched:
    """Run a command to its end. Raises RuntimeError with its last lines if it fails."""
    found = Watched()
    before = folder_bytes(folder)
    start = time.monotonic()
    with subprocess.Popen(
        command,
        env=os.environ | (environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        while process.poll() is None:
            sample(found, process.pid)
            found.peak_disk_bytes = max(found.peak_disk_bytes, folder_bytes(folder) - before)
            time.sleep(INTERVAL_S)
        found.wall_s = time.monotonic() - start
        assert process.stdout is not None
        output = process.stdout.read()
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}: {output[-2000:]}")
    return found


def sample(found: Watched, pid: int) -> None:
    """Take the tree's memory now into account."""
    sums = [memory_of(member) for member in tree(pid)]
    found.samples += 1
    found.peak_rss_bytes = max(found.peak_rss_bytes, sum(rss for rss, _ in sums))
    found.peak_anonymous_bytes = max(found.peak_anonymous_bytes, sum(anon for _, anon in sums))


def tree(pid: int) -> list[int]:
    """A process and its descendants, as far as they are still there."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return [pid]
    return [pid, *(member for child in text.split() for member in tree(int(child)))]


def memory_of(pid: int) -> tuple[int, int]:
    """Resident and anonymous bytes of a process; 0 of one that has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0, 0
    fields = dict(line.split(":", 1) for line in lines)
    sizes = [int(fields.get(key, "0 kB").split()[0]) * 1024 for key in ("VmRSS", "RssAnon")]
    return sizes[0], sizes[1]


def folder_bytes(folder: Path) -> int:
    """What the files below a folder take on the disk."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_blocks * 512
        except OSError:
            continue
    return total
