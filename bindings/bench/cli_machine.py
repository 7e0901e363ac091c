"""`pannier bench machine`: how fast memories, links and the disk are read, for plans and traces."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ArgumentError
from ..server.flags.model import BACKENDS
from ..server.flags.values import at_least, sizes

if TYPE_CHECKING:
    from rich.table import Table

    from ..planner.machine import Machine

SECONDS = 1.0
NOTES = """weights are read as decoding reads experts: by ggml's products of a matrix with one
vector, an expert's after the other's. `pannier plan` and `pannier trace show` reckon with
what is found, which is kept beside the engines."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.allow_abbrev = False
    parser.description = f"{parser.description}: {' '.join(NOTES.split())}"
    add = parser.add_argument
    add(
        "--disk",
        type=Path,
        metavar="PATH",
        help="measure the disk under this folder too, by a file of 1 GiB that is written there and "
        "taken away; or by a file that is there, such as a model's",
    )
    add("--expert", type=sizes, metavar="SIZE", default=(2 << 20,),
        help="bytes of an expert, as 2M: what is uploaded, and read from the disk, at once "
        "(default: 2M)")  # fmt: skip
    add("--type", default="Q4_K", metavar="TYPE", help="of the weights (default: %(default)s)")
    add("-t", "--threads", type=at_least(0), default=0, metavar="N",
        help="CPU threads; 0: one per physical core (default: 0)")  # fmt: skip
    add("--seconds", type=float, default=SECONDS, metavar="S",
        help="for each rate, about (default: %(default)g)")  # fmt: skip
    add("--backend", choices=BACKENDS, help="engine to measure with (default: PANNIER_ENGINE, else "
        "the best one for this machine)")  # fmt: skip
    add("--json", action="store_true", help="print JSON, in bytes/s and seconds")


def execute(args: argparse.Namespace) -> int:
    """Measure, keep and print."""
    from ..engine.progress import say
    from ..planner.machine import Machine, disk_identity, record
    from ..server.named_model import find_or_build
    from .disk import measure_disk
    from .machine import measure_devices

    if not 0 <= args.seconds <= 60:
        raise ArgumentError(f"--seconds {args.seconds:g}; it can be 0 to 60")
    if args.disk is not None and not args.disk.exists():
        raise ArgumentError(f"--disk {args.disk}: there is no such folder or file")
    engine = find_or_build(args.backend).directory
    [expert, *_] = args.expert
    devices = measure_devices(engine, expert, args.type, args.threads, args.seconds, say)
    disks = {}
    if args.disk is not None:
        say(f"measuring the disk of {args.disk}")
        disks[disk_identity(args.disk)] = measure_disk(args.disk, expert, args.seconds)
    record(devices, disks)
    machine = Machine(tuple(devices.values()), tuple(disks.values()))
    if args.json:
        sys.stdout.write(json.dumps(asdict(machine), indent=1) + "\n")
        return 0 if devices else 1
    from rich.console import Console

    Console(soft_wrap=True, highlight=False).print(as_table(machine))
    return 0 if devices else 1


def as_table(machine: Machine) -> Table:
    """A row for each rate of each device."""
    from rich.table import Table

    table = Table("device", "rate", "", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.columns[2].justify = "right"
    for device in machine.devices:
        rows = [
            ("experts read by products with a vector", device.read),
            ("memory copied to memory", device.copy),
            ("uploads from ordinary memory", device.upload),
            ("uploads from pinned memory", device.upload_pinned),
            ("downloads", device.download),
        ]
        found = [(words, f"{rate / 1e9:.3g} GB/s") for words, rate in rows if rate]
        if device.sync_s:
            found.append(("a small computation and its result", f"{device.sync_s * 1e6:.3g} us"))
        for i, (words, rate_text) in enumerate(found):
            table.add_row("" if i else device.name, words, rate_text)
    for disk in machine.disks:
        table.add_row("disk", "from end to end", f"{disk.sequential / 1e9:.3g} GB/s")
        words = f"blocks of {disk.block_bytes / 1e6:.3g} MB, {disk.n_readers} readers"
        table.add_row("", words, f"{disk.blocks / 1e9:.3g} GB/s")
    return table
