"""How many threads to compute with."""

from __future__ import annotations

import os
from pathlib import Path


def physical_cores() -> int:
    """Cores that this process may use, hyper-threads counted once where Linux says so."""
    usable = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    topology = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    try:
        siblings = {Path(topology.format(cpu)).read_text() for cpu in usable}
    except OSError:
        return len(usable)
    return len(siblings) or os.cpu_count() or 1
