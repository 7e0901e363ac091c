"""How much system memory there is to take: the machine's, and what its control groups leave."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

UNLIMITED = 1 << 60
"""Version 1 writes no limit as the largest number of pages."""


def available_memory(root: Path = Path("/")) -> int | None:
    """Bytes that new work could take without swapping, in this machine or container; None where
    Linux does not say. Pages of files that the kernel can drop are available."""
    rooms = [*_machine_room(root), *(room for folder in _groups(root) for room in _room(folder))]
    return max(0, min(rooms)) if rooms else None


def _machine_room(root: Path) -> list[int]:
    fields = _fields(root / "proc/meminfo")
    return [fields["MemAvailable"] * 1024] if "MemAvailable" in fields else []


def _groups(root: Path) -> Iterator[Path]:
    """Folders of this process's memory groups, from its own to the root of each hierarchy."""
    for line in _lines(root / "proc/self/cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0":
            mounts = [root / "sys/fs/cgroup", root / "sys/fs/cgroup/unified"]
        elif "memory" in controllers.split(","):
            mounts = [root / "sys/fs/cgroup/memory"]
        else:
            continue
        for mount in mounts:
            # a container sees its own group as the mount, whatever the path says
            inner = PurePosixPath(path.lstrip("/"))
            yield from (mount / one for one in (inner, *inner.parents))


def _room(folder: Path) -> list[int]:
    """Of one group: its limit, less what it holds and the kernel could not drop."""
    for limit_name, usage_name, prefix in (
        ("memory.max", "memory.current", ""),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
    ):
        limit, usage = (_number(folder / name) for name in (limit_name, usage_name))
        if limit is not None and usage is not None and limit < UNLIMITED:
            stat = _fields(folder / "memory.stat")
            files = (stat.get(f"{prefix}{kind}_file", 0) for kind in ("active", "inactive"))
            return [limit - usage + sum(files)]
    return []


def _fields(path: Path) -> dict[str, int]:
    """Lines of a name and a number."""
    rows = [line.replace(":", " ").split() for line in _lines(path)]
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdecimal()}


def _number(path: Path) -> int | None:
    text = "".join(_lines(path)).strip()
    return int(text) if text.isdecimal() else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
