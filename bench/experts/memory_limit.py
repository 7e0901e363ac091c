"""A limit on what a command and its children have of system memory, page cache included."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")
ENTER = """
import os, sys
open(sys.argv[1], "w").write(str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True)
class MemoryLimit:
    """A control group below this process's own, so that what limits that one still counts."""

    folder: Path

    def command(self, command: list[str]) -> list[str]:
        """The command, inside."""
        program = shutil.which(command[0]) or command[0]
        enter = [sys.executable, "-c", ENTER, str(self.folder / "cgroup.procs")]
        return [*enter, program, *command[1:]]

    def pids(self) -> list[int]:
        """Processes inside."""
        return [int(line) for line in (self.folder / "cgroup.procs").read_text().split()]

    def read_bytes(self) -> int:
        """What the processes inside have read from disks."""
        return sum(read_bytes(pid) for pid in self.pids())

    def held_bytes(self) -> dict[str, int]:
        """Anonymous memory and the page cache, both counted against the limit."""
        rows = [line.split() for line in (self.folder / "memory.stat").read_text().splitlines()]
        stat = {name: int(value) for name, value in rows}
        return {
            "anonymous": stat.get("rss", stat.get("anon", 0)),
            "files": stat.get("cache", stat.get("file", 0)),
        }


def read_bytes(pid: int) -> int:
    """From disks, by one process."""
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))


@contextlib.contextmanager
def memory_limit(n_bytes: int) -> Iterator[MemoryLimit]:
    """A group of so many bytes until the block ends; then nothing may run in it any more."""
    folder = own_group() / f"pannier-bench-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        raise SystemExit(
            f"cannot make a control group in {folder.parent} ({error.strerror}): run as root, or "
            "start this under `systemd-run --scope -p MemoryMax=SIZE` with --limit none"
        ) from error
    try:
        names = ("memory.limit_in_bytes", "memory.max")
        limit = next(folder / name for name in names if (folder / name).exists())
        limit.write_text(str(n_bytes))
        yield MemoryLimit(folder)
    finally:
        remove(folder)


def own_group() -> Path:
    """The folder of this process's memory group: version 1, else version 2."""
    rows = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    paths = {controllers: path.lstrip("/") for _, controllers, path in rows}
    for controllers, path in paths.items():
        if "memory" in controllers.split(","):
            return MOUNT / "memory" / path
    folder = MOUNT / paths.get("", "")
    with contextlib.suppress(OSError):
        (folder / "cgroup.subtree_control").write_text("+memory")
    return folder


def remove(folder: Path) -> None:
    """The kernel lets go of a group some moments after its last process."""
    for _ in range(50):
        try:
            return folder.rmdir()
        except OSError:
            time.sleep(0.2)
    return None
