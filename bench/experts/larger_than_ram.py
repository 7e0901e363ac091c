"""A model larger than the memory that it gets: read from the file, at which rate, as predicted?

Both servers run in a control group of so much memory, one after the other, each from a page cache
that has nothing of the file: pannier with its read-ahead, and llama-server of the same pin, mapped,
too. The model writes at temperature 1, which is the text that the locality of its routers is made
for: several texts in a turn, since a long one stays with few topics and so with few experts. The
first turn fills the page cache and does not count.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from load import Load, run
from memory_limit import MemoryLimit, memory_limit
from peer import Server, pannier_command, running

PROMPT = 1


@dataclass(frozen=True)
class Turn:
    """So many tokens of one server."""

    n_tokens: int
    seconds: float
    read_bytes: int

    def as_dict(self, used_bytes: float) -> dict[str, Any]:
        """used_bytes: experts of one token."""
        per_token = self.read_bytes / self.n_tokens
        return {
            "n_tokens": self.n_tokens,
            "tokens_per_s": round(self.n_tokens / self.seconds, 3),
            "read_mb_per_token": round(per_token / 1e6, 1),
            "read_mb_per_s": round(self.read_bytes / self.seconds / 1e6, 1),
            "experts_found_in_memory": max(0.0, round(1 - per_token / used_bytes, 3)),
        }


def larger_than_ram(args: argparse.Namespace) -> dict[str, Any]:
    """One result."""
    model = Path(args.model)
    flags = ["-m", str(model), "-np", "1", "-c", "4096", "-t", str(args.threads)]
    commands = {
        "pannier": pannier_command("serve", *flags),
        # repacked weights are a copy, for which there is no room
        "llama-server": [
            str(args.llama_server),
            *flags,
            "--no-repack",
            "--no-webui",
            "--no-warmup",
        ],
    }
    texts = {"pannier": (args.texts, args.tokens), "llama-server": (1, args.peer_tokens)}
    results = {
        name: one_server(name, command, args, *texts[name]) for name, command in commands.items()
    }
    report = {
        "model": model.name,
        "model_bytes": model.stat().st_size,
        "limit_bytes": args.limit,
        "flags": " ".join(flags[2:]),
        "kernel_read_ahead_kib": kernel_read_ahead(model),
        **results,
    }
    measured = [turn["tokens_per_s"] for turn in results["pannier"]["turns"]]
    theirs = [turn["tokens_per_s"] for turn in results["llama-server"]["turns"]]
    report["ratio"] = round(statistics.median(measured) / statistics.median(theirs), 2)
    if predicted := results["pannier"]["predicted_tokens_per_s"]:
        report["measured_over_predicted"] = round(statistics.median(measured) / predicted, 2)
    return report


def one_server(
    name: str, command: list[str], args: argparse.Namespace, n_texts: int, n_tokens: int
) -> dict[str, Any]:
    """Starts it, warms it up, and takes turns."""
    model = Path(args.model)
    forget(model)
    with tempfile.TemporaryDirectory() as scratch, memory_limit(args.limit) as group:
        log = Path(scratch) / "log"
        start = time.monotonic()
        with running(name, group.command(command), log) as server:
            load_s = time.monotonic() - start
            load_bytes = group.read_bytes()
            warning = next((one for one in log.read_text().splitlines() if "GiB more" in one), "")
            used = used_bytes(model)
            seeds = range(args.turns + 1)
            turns = [turn(server, group, n_texts, n_tokens, seed) for seed in seeds][1:]
            found = {
                "warning": warning,
                "predicted_tokens_per_s": predicted(warning),
                "load_s": round(load_s, 1),
                "read_mb_at_load": round(load_bytes / 1e6),
                "turns": [one.as_dict(used) for one in turns],
                "held_bytes": group.held_bytes(),
            }
    print(name, json.dumps(found, indent=1), flush=True)
    return found


def turn(server: Server, group: MemoryLimit, n_texts: int, n_tokens: int, seed: int) -> Turn:
    """One client's texts, each from a random word on."""
    load = Load(1, n_texts, PROMPT, n_tokens, 250, False, seed, temperature=1.0)
    before = group.read_bytes()
    result = asyncio.run(run(server.port, load))
    return Turn(result.n_tokens, result.wall_s, group.read_bytes() - before)


def used_bytes(model: Path) -> float:
    """Of the routed experts, what one token reads."""
    from pannier.modelfile import open_model_file
    from pannier.planner import ModelFacts

    facts = ModelFacts.of(open_model_file(model))
    return sum(layer.expert_bytes for layer in facts.layers) * facts.used_fraction


def predicted(warning: str) -> float | None:
    """The rate that the server's warning names."""
    found = re.search(r"about ([0-9.e+]+) tokens/s", warning)
    return float(found[1]) if found else None


def kernel_read_ahead(model: Path) -> int | None:
    """What the kernel reads around a page that is missing, of the disk with the file: by this,
    llama-server's rate differs between machines."""
    device = model.stat().st_dev
    folder = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")
    for path in (folder / "queue/read_ahead_kb", folder / "../queue/read_ahead_kb"):
        if path.exists():
            return int(path.read_text())
    return None


def forget(model: Path) -> None:
    """Have the page cache drop the file."""
    with model.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
