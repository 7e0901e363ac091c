"""Serve a model with --vram, and hold what the device has in use against that, all the while.

    python limited.py MODEL --vram 8G --clients 1,8 [--device 0] [--flags ...]

The device is read every 20 ms, from before the server starts until it has ended: by NVML, less what
was in use before. Where there is no NVML (a stand-in for a card), the server's own record counts.
Prints JSON; the status is 1 if the device ever had more.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from load import Load, run
from peer import Server, pannier_command, running

from pannier.memory import KINDS
from pannier.server.flags.values import sizes

EVERY_S = 0.02
AIM = 40.0
"""Tokens per second for one client."""

Read = Callable[[], int]


class Watch:
    """The most that a device had in use beyond what it had before."""

    def __init__(self, read: Read) -> None:
        self.read = read
        self.before = read()
        self.most = self.before
        self.n_reads = 0

    @property
    def peak_bytes(self) -> int:
        return self.most - self.before

    @contextlib.contextmanager
    def running(self) -> Iterator[Watch]:
        """Reads until the block ends."""
        done = threading.Event()

        def watch() -> None:
            while not done.wait(EVERY_S):
                self.look()

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield self
        finally:
            done.set()
            thread.join()

    def look(self) -> None:
        """Once."""
        self.most = max(self.most, self.read())
        self.n_reads += 1


def nvml_reader(index: int) -> Read | None:
    """All that is in use on an NVIDIA device; None where no driver says."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    except pynvml.NVMLError:
        return None
    return lambda: int(pynvml.nvmlDeviceGetMemoryInfo(handle).used)


def held_bytes(server: Server) -> int:
    """On devices, as the server tells."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/memory", timeout=60) as found:
        rows = json.load(found)["devices"]
    owned = {row["name"]: sum(row[f"{kind}_bytes"] for kind in KINDS) for row in rows}
    return sum(row["process_bytes"] or owned[row["name"]] for row in rows if row["type"] != "cpu")


def serve(args: argparse.Namespace, n_clients: int, reader: Read | None) -> dict[str, Any]:
    """One server's rate and peak."""
    n_ctx = n_clients * (args.prompt + args.predict + 64)
    flags = ["--vram", args.vram, "--experts", "auto", "-np", str(n_clients), "-c", str(n_ctx)]
    command = pannier_command("serve", args.model, *flags, *args.flags.split())
    watch = Watch(reader or (lambda: 0))
    peak = 0
    with tempfile.TemporaryDirectory() as scratch, watch.running():
        log = Path(scratch) / "log"
        with running("pannier", command, log) as server:
            rates = []
            for seed in range(args.turns + 1):
                load = Load(n_clients, 1, args.prompt, args.predict, 250, False, seed, 1.0)
                rates.append(asyncio.run(run(server.port, load)).tokens_per_s)
            peak = held_bytes(server)
        words = [line for line in log.read_text().splitlines() if "planned" in line]
    return {
        "clients": n_clients,
        "tokens_per_s": [round(rate, 2) for rate in rates[1:]],
        "peak_bytes": watch.peak_bytes if reader else peak,
        "ledger_bytes": peak,
        "n_reads": watch.n_reads if reader else 0,
        "planned": words,
    }


def report(rows: list[dict[str, Any]], limit: int, measured_by: str) -> dict[str, Any]:
    """Whether the limit held, and the aim was reached by one client."""
    alone = [rate for row in rows if row["clients"] == 1 for rate in row["tokens_per_s"]]
    return {
        "limit_bytes": limit,
        "measured_by": measured_by,
        "is_within": all(row["peak_bytes"] <= limit for row in rows),
        "aim_tokens_per_s": AIM,
        "reached": bool(alone) and sorted(alone)[len(alone) // 2] >= AIM,
        "rows": rows,
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--vram", default="8G")
    parser.add_argument("--clients", default="1,8")
    parser.add_argument("--device", type=int, default=0, help="NVML's number of it")
    parser.add_argument("--prompt", type=int, default=32)
    parser.add_argument("--predict", type=int, default=256)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--flags", default="", help="more of the server's")
    args = parser.parse_args(argv)
    is_cuda = os.environ.get("PANNIER_GPU_BACKEND", "cuda") == "cuda"
    reader = nvml_reader(args.device) if is_cuda else None
    rows = [serve(args, n, reader) for n in map(int, args.clients.split(","))]
    found = report(rows, sizes(args.vram)[0], "nvml" if reader else "the server")
    print(json.dumps(found))
    return 0 if found["is_within"] else 1


if __name__ == "__main__":
    sys.exit(main())
