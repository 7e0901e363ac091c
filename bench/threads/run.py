"""Threads that share one Llama: pannier beside llama-cpp-python behind a lock.

    python bench/threads/run.py --model MODEL.gguf --peer-python PYTHON [--out FILE.json]

PYTHON has llama-cpp-python 0.3.36 installed. Each pair of turns loads the model anew in both.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from machine import machine, revision

LOAD = Path(__file__).with_name("load.py")


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="GGUF")
    parser.add_argument("--peer-python", help="interpreter that has llama-cpp-python")
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--shared", type=int, nargs="+", default=[1024, 0], help="common tokens")
    parser.add_argument("--own", type=int, default=64, help="tokens of each prompt's own")
    parser.add_argument("--predict", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=3, help="turns of each")
    parser.add_argument("--calls", type=int, default=0, help="so many short calls instead, that "
                        "raise in a stopping criterion; 16 threads")  # fmt: skip
    parser.add_argument("--vocab", type=int, default=250, help="draw prompt tokens below this id")
    parser.add_argument("--ends", type=int, nargs="*", default=[], help="tokens that end a text")
    parser.add_argument("--n-threads", type=int, default=os.cpu_count() or 1, help="of the engine")
    parser.add_argument("--out", type=Path)
    return parser.parse_args(argv)


def wish_of(args: argparse.Namespace, shared: int) -> dict[str, Any]:
    n_ctx = -(-(shared + args.own + args.predict + 16) // 256) * 256
    return {
        "threads": args.threads,
        "shared": shared,
        "own": args.own,
        "predict": args.predict,
        "rounds": args.rounds,
        "vocab": args.vocab,
        "ends": args.ends,
        "n_threads": args.n_threads,
        "n_ctx": n_ctx,
        "n_cells": shared + args.threads * (args.own + args.predict + 16),
    }


def turn(python: str, module: str, model: str, wish: dict[str, Any]) -> dict[str, Any]:
    """What one process found."""
    command = [python, str(LOAD), module, model, json.dumps(wish)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"{module} ended with {result.returncode}: {result.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def rates(found: dict[str, Any]) -> list[float]:
    """Tokens per second of the rounds, prompts included in the time."""
    return [round["tokens"] / round["seconds"] for round in found["rounds"]]


def compare(args: argparse.Namespace, shared: int) -> dict[str, Any]:
    wish = wish_of(args, shared)
    ours: list[list[float]] = []
    theirs: list[list[float]] = []
    for _ in range(args.pairs):
        ours.append(rates(turn(sys.executable, "pannier", args.model, wish)))
        theirs.append(rates(turn(args.peer_python, "llama_cpp", args.model, wish)))
    medians = [
        statistics.median(rate for turn in turns for rate in turn) for turns in (ours, theirs)
    ]
    row = {
        "load": wish,
        "pannier_tokens_per_s": ours,
        "llama_cpp_python_tokens_per_s": theirs,
        "ratio": medians[0] / medians[1],
    }
    sys.stdout.write(
        f"{args.threads} threads, {shared} shared + {args.own} own tokens: pannier "
        f"{medians[0]:.1f} tok/s, llama-cpp-python {medians[1]:.1f}, ratio {row['ratio']:.2f}\n"
    )
    return row


def many_calls(args: argparse.Namespace) -> dict[str, Any]:
    wish = wish_of(args, 0) | {"threads": 16, "calls": args.calls, "n_cells": 16 * 256}
    found = turn(sys.executable, "pannier", args.model, wish)
    sys.stdout.write(f"{args.calls} calls: {found}\n")
    return {"load": wish, "found": found}


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    result = {
        "bench": "threads",
        "date": date.today().isoformat(),
        "revision": revision(),
        "machine": machine(),
        "command": [Path(word).name if "/" in word else word for word in argv or sys.argv[1:]],
        "model": Path(args.model).name,
    }
    if args.calls:
        result["calls"] = many_calls(args)
    else:
        result["rows"] = [compare(args, shared) for shared in args.shared]
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
