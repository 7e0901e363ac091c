"""Tokens per second of pannier and llama-server: same GGUF, same flags, same load, same run.

Both servers stay up; the two take turns, load by load, so that a machine whose
speed drifts does it to both. What counts is the ratio, pair by pair.

    python bench/throughput/run.py --model large.gguf --model small.gguf
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from load import Load, Result, run
from machine import machine, revision
from peer import Server, pannier_command, running, stock_server


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", action="append", required=True, help="GGUF; repeat for more")
    parser.add_argument(
        "--llama-server", help="binary; default: the stock engine's, built if absent"
    )
    parser.add_argument("--clients", default="1,4,8,16", help="numbers of clients")
    parser.add_argument("--pairs", type=int, default=3, help="turns of each server per load")
    parser.add_argument("--prompt", type=int, default=128, help="tokens of each prompt")
    parser.add_argument("--predict", type=int, default=64, help="tokens to generate")
    parser.add_argument("--requests", type=int, default=2, help="requests by each client in a turn")
    parser.add_argument("--vocab", type=int, default=250, help="draw prompt tokens below this id")
    parser.add_argument("--stream", choices=("no", "yes", "both"), default="both")
    parser.add_argument("--flags", default="", help="more flags for both, such as '-ngl 99'")
    parser.add_argument("--out", type=Path, help="JSON file of the results")
    return parser.parse_args(argv)


def flags(args: argparse.Namespace, model: str) -> list[str]:
    n_slots = max(map(int, args.clients.split(",")))
    n_ctx = n_slots * (args.prompt + args.predict + 64)
    threads = str(os.cpu_count() or 1)
    shared = ["-m", model, "-np", str(n_slots), "-c", str(n_ctx), "-t", threads, "-kvu"]
    return [*shared, *args.flags.split()]


def measure(
    servers: list[Server], args: argparse.Namespace, n: int, stream: bool
) -> dict[str, Any]:
    """Turns of both servers under one load; medians, and the median of the paired ratios."""
    results: dict[str, list[Result]] = {server.name: [] for server in servers}
    for turn in range(args.pairs + 1):
        load = Load(n, args.requests, args.prompt, args.predict, args.vocab, stream, seed=turn)
        for server in servers if turn % 2 else servers[::-1]:
            result = asyncio.run(run(server.port, load))
            if turn:  # the first turn warms up
                results[server.name].append(result)
    ours, theirs = (results[server.name] for server in servers)
    return {
        "clients": n,
        "stream": stream,
        **{
            f"{name}_tokens_per_s": [round(r.tokens_per_s, 1) for r in rows]
            for name, rows in results.items()
        },
        **{
            f"{name}_first_token_ms": round(
                1000 * statistics.median(t for r in rows for t in r.first_token_s), 1
            )
            for name, rows in results.items()
            if stream
        },
        "ratio": round(
            statistics.median(
                a.tokens_per_s / b.tokens_per_s for a, b in zip(ours, theirs, strict=True)
            ),
            3,
        ),
    }


def bench_model(args: argparse.Namespace, model: str, llama_server: str) -> dict[str, Any]:
    shared = flags(args, model)
    commands = {
        "pannier": pannier_command("serve", *shared),
        "llama_server": [llama_server, *shared, "--no-webui"],
    }
    with tempfile.TemporaryDirectory() as scratch:
        logs = Path(scratch)
        with (
            running("pannier", commands["pannier"], logs / "pannier.log") as ours,
            running("llama_server", commands["llama_server"], logs / "llama.log") as theirs,
        ):
            rows = []
            for stream in {"no": (False,), "yes": (True,), "both": (False, True)}[args.stream]:
                for n in map(int, args.clients.split(",")):
                    rows.append(measure([ours, theirs], args, n, stream))
                    show(rows[-1])
    return {
        "model": Path(model).name,
        "bytes": Path(model).stat().st_size,
        "flags": " ".join(shared[2:]),
        "rows": rows,
    }


def show(row: dict[str, Any]) -> None:
    ours = statistics.median(row["pannier_tokens_per_s"])
    theirs = statistics.median(row["llama_server_tokens_per_s"])
    kind = "streamed" if row["stream"] else "whole"
    print(
        f"{row['clients']:3d} clients, {kind:8s}: pannier {ours:8.1f} tok/s, "
        f"llama-server {theirs:8.1f} tok/s, ratio {row['ratio']:.3f}",
        flush=True,
    )


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    llama_server = args.llama_server or stock_server()
    report = {
        "bench": "throughput",
        "date": date.today().isoformat(),
        "revision": revision(),
        "llama.cpp": "b11549",
        "machine": machine(),
        "load": {"prompt": args.prompt, "predict": args.predict, "requests": args.requests},
        "models": [],
    }
    for model in args.model:
        print(Path(model).name, flush=True)
        report["models"].append(bench_model(args, model, llama_server))
    if args.out:
        args.out.write_text(json.dumps(report, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
