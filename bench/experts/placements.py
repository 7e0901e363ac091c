"""Where experts are and how fast that is: all in system memory, some layers' on the device, a cache
of them, and what `auto` makes of it; llama-server of the same pin beside it, with the same memory.

Every setup is a server of its own. Its clients have the model write at temperature 1 from prompts
of random words: a synthetic model's routers have their skew and locality in such text.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from load import Load, run
from peer import Server, pannier_command, running
from roofline import config_of, roofline

from pannier.engine import BuildOptions, Engine, ensure_engine
from pannier.expert_words import parse_experts
from pannier.memory import KINDS
from pannier.modelfile import open_model_file
from pannier.planner.facts import ModelFacts

Json = dict[str, Any]
SYSTEM = ("--experts", "cpu")


@dataclass(frozen=True)
class Setup:
    """One server."""

    name: str
    server: str
    """"pannier" or "llama-server"."""
    flags: tuple[str, ...]
    roofline_flags: tuple[str, ...] | None = None
    """Pannier's flags for the same placement; None: not known before the server starts."""


def placements(args: argparse.Namespace) -> Json:
    """One result: a row for each setup and number of clients."""
    named = "PANNIER_ENGINE" in os.environ
    engine = ensure_engine() if named else ensure_engine(BuildOptions(backend=args.backend))
    moe_layers = ModelFacts.of(open_model_file(args.model)).moe_layers
    rows = []
    for n_clients in map(int, args.clients.split(",")):
        base = base_flags(args, n_clients)
        plan = ask_plan(args, engine, base)
        for setup in setups(plan, args.vram_text, moe_layers):
            rows.append(measured(args, engine, setup, base, n_clients))
            show(rows[-1])
    for row in rows:
        row["ratio"] = ratio(row, rows)
    return {
        "model": Path(args.model).name,
        "model_bytes": Path(args.model).stat().st_size,
        "backend": args.backend,
        "vram_bytes": args.vram,
        "is_software": args.software,
        "load": {"prompt": args.prompt, "predict": args.predict},
        "rows": rows,
    }


def base_flags(args: argparse.Namespace, n_clients: int) -> list[str]:
    """Of every server with so many clients."""
    n_ctx = n_clients * (args.prompt + args.predict + 64)
    return ["-np", str(n_clients), "-c", str(n_ctx), *args.flags.split()]


def ask_plan(args: argparse.Namespace, engine: Engine, base: list[str]) -> Json:
    """What the planner finds for the memory that there is."""
    command = pannier_command("plan", args.model, "--json", "--vram", args.vram_text, *base)
    env = {"PANNIER_ENGINE": str(engine.directory)}
    return dict(json.loads(answer(command, env)))


def setups(plan: Json, vram: str, moe_layers: Iterable[int]) -> Iterator[Setup]:
    """The ways that the planner knows, and the same for llama-server."""
    ways = {way["experts"]: tuple(way["arguments"]) for way in plan["ways"]}
    yield Setup("system", "pannier", SYSTEM, SYSTEM)
    yield Setup("system", "llama-server", ("--cpu-moe",), SYSTEM)
    if "layers" in ways:
        yield Setup("layers", "pannier", ways["layers"], ways["layers"])
        words = parse_experts(config_of(plan["model"], ways["layers"]).experts)
        n_layers = str(len(words.by_layer(moe_layers)["cpu"]))
        yield Setup("layers", "llama-server", ("--n-cpu-moe", n_layers), ways["layers"])
    if "cache" in ways:
        size = str(config_of(plan["model"], ways["cache"]).moe_cache_mib)
        flags = (*SYSTEM, "--moe-cache-mib", size)
        yield Setup("cache", "pannier", flags, flags)
        yield Setup("cache", "llama-server", ("--cpu-moe", "--moe-cache-mib", size), flags)
    yield Setup("auto", "pannier", ("--vram", vram, "--experts", "auto"))


def measured(
    args: argparse.Namespace, engine: Engine, setup: Setup, base: list[str], n_clients: int
) -> Json:
    """A row."""
    row: Json = {"setup": setup.name, "server": setup.server, "clients": n_clients,
                 "flags": " ".join(setup.flags)}  # fmt: skip
    if setup.roofline_flags is not None and setup.server == "pannier":
        config = config_of(args.model, [*base, *setup.roofline_flags], str(engine.directory))
        row["roofline"] = roofline(config, n_clients)
    env = {"PANNIER_ENGINE": str(engine.directory)}
    with tempfile.TemporaryDirectory() as scratch:
        log = Path(scratch) / "log"
        command = command_of(args, setup, base)
        with running(setup.server, command, log, env) as server:
            rates = [turn(args, server, n_clients, seed) for seed in range(args.turns + 1)][1:]
            row["tokens_per_s"] = [round(rate, 2) for rate in rates]
            row["memory"] = memory(server, setup)
    return row


def command_of(args: argparse.Namespace, setup: Setup, base: list[str]) -> list[str]:
    """What starts it."""
    flags = [*base, "-t", str(args.threads), *setup.flags]
    if setup.server == "pannier":
        return pannier_command("serve", args.model, "--no-strict", *flags)
    return [str(args.llama_server), "-m", args.model, "-ngl", "99", "--no-webui", *flags]


def turn(args: argparse.Namespace, server: Server, n_clients: int, seed: int) -> float:
    """Tokens per second of all clients."""
    load = Load(n_clients, 1, args.prompt, args.predict, args.vocab, False, seed, temperature=1.0)
    return asyncio.run(run(server.port, load)).tokens_per_s


def memory(server: Server, setup: Setup) -> Json:
    """Bytes on devices and in system memory, and what the cache of experts did, as the server
    tells; of llama-server its resident memory alone."""
    if setup.server != "pannier":
        return {"resident_bytes": resident_bytes(server.pid)}
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/memory", timeout=60) as found:
        report = json.load(found)
    return {
        "devices": {
            row["name"]: {
                "owned_bytes": sum(row[f"{kind}_bytes"] for kind in KINDS),
                "process_bytes": row["process_bytes"],
            }
            for row in report["devices"]
        },
        "experts": report.get("experts"),
    }


def resident_bytes(pid: int) -> int:
    """Of one process, pages of the file included."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def ratio(row: Json, rows: list[Json]) -> float | None:
    """Of pannier's rate and llama-server's, where both did the same; of `auto` and the better of
    llama-server's."""
    theirs = [
        median(other["tokens_per_s"])
        for other in rows
        if (other["server"], other["clients"]) == ("llama-server", row["clients"])
        and row["setup"] in (other["setup"], "auto")
    ]
    if row["server"] != "pannier" or not theirs:
        return None
    return round(median(row["tokens_per_s"]) / max(theirs), 3)


def show(row: Json) -> None:
    bound = row.get("roofline", {}).get("tokens_per_s")
    print(
        f"{row['clients']:2d} clients, {row['setup']:7s} {row['server']:12s} "
        f"{median(row['tokens_per_s']):9.2f} tokens/s" + (f", roofline {bound}" if bound else ""),
        flush=True,
    )


def answer(command: list[str], env: dict[str, str]) -> str:
    """What a command prints."""
    done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def median(values: list[float]) -> float:
    return statistics.median(values)
