"""What clients with a common prompt cost: pannier and llama-server, same GGUF, same flags.

    python bench/prefix/run.py [--model large --model dense --model window] [--out FILE]

Three loads, each on fresh servers that take turns:
  shared         8 clients at once with 2,048 common and 32 own tokens, 32 generated; a second
                 round with other own tokens
  conversations  8 clients, ten turns: prompt tokens computed over those that are new; pannier
                 also with a restart half-way and a cache on disk
  private        8 clients with 3,000 tokens each, nothing in common, 64 generated; llama-server
                 both with -kvu and -no-kvu
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from http_client import Answer, complete, get
from machine import machine, revision
from models import ensure_model
from peer import Server, pannier_command, running, stock_server

N_CLIENTS = 8
N_SHARED, N_OWN, N_PREDICT = 2048, 32, 32
N_TURNS, N_NEW = 10, 48
N_PRIVATE, N_PRIVATE_PREDICT = 3000, 64


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", action="append", help="GGUF or name in bench/models.py")
    parser.add_argument("--load", action="append", choices=tuple(LOADS), help="default: all")
    parser.add_argument("--pairs", type=int, default=3, help="turns of each server")
    parser.add_argument("--llama-server", help="binary; default: the stock engine's")
    parser.add_argument("--out", type=Path, help="JSON file of the results")
    return parser.parse_args(argv)


def draw(seed: str, n: int) -> list[int]:
    return [random.Random(f"{seed}/{i}").randrange(3, 250) for i in range(n)]


class Commands:
    """The two servers' command lines for a model."""

    def __init__(self, model: Path, llama_server: str) -> None:
        self.model = model
        self.llama_server = llama_server

    def flags(self, n_ctx: int, *more: str) -> list[str]:
        threads = str(os.cpu_count() or 1)
        common = ["-m", str(self.model), "-np", str(N_CLIENTS), "-c", str(n_ctx), "-t", threads]
        return [*common, *more]

    def pannier(self, n_ctx: int, *more: str) -> list[str]:
        return pannier_command("serve", *self.flags(n_ctx, *more))

    def peer(self, n_ctx: int, *more: str) -> list[str]:
        return [self.llama_server, *self.flags(n_ctx, *more), "--no-webui"]


def at_once(port: int, prompts: list[list[int]], n_predict: int) -> tuple[float, list[Answer]]:
    """All clients together: wall time of the last, and their answers."""

    async def go() -> list[Answer]:
        return await asyncio.gather(*(complete(port, prompt, n_predict) for prompt in prompts))

    start = time.perf_counter()
    answers = asyncio.run(go())
    return time.perf_counter() - start, answers


# ---------------------------------------------------------------- shared prefix


def shared(commands: Commands, pairs: int, scratch: Path) -> dict[str, Any]:
    rows: dict[str, list[Any]] = {"pannier": [], "llama_server": []}
    for turn in range(pairs):
        order = list(rows) if turn % 2 else list(rows)[::-1]
        for name in order:
            make = commands.pannier if name == "pannier" else commands.peer
            command = make(24576, "-kvu")
            with running(name, command, scratch / f"{name}.log") as server:
                rows[name].append(shared_rounds(server, turn))
    first, second = (
        statistics.median(
            a["wall_s"][i] / b["wall_s"][i]
            for a, b in zip(rows["pannier"], rows["llama_server"], strict=True)
        )
        for i in range(2)
    )
    return {
        **rows,
        "ratio": {"first_round": round(first, 3), "second_round": round(second, 3)},
        "same_tokens": [
            a["tokens"] == b["tokens"]
            for a, b in zip(rows["pannier"], rows["llama_server"], strict=True)
        ],
    }


def shared_rounds(server: Server, turn: int) -> dict[str, Any]:
    common = draw(f"common {turn}", N_SHARED)
    walls, computed, tokens, cells = [], [], [], []
    at_once(server.port, [draw("warm", 40)], 4)
    for round in range(2):
        prompts = [common + draw(f"{turn}/{round}/{i}", N_OWN) for i in range(N_CLIENTS)]
        wall, answers = at_once(server.port, prompts, N_PREDICT)
        walls.append(round_s(wall))
        computed.append(sum(answer.n_computed for answer in answers))
        tokens.append([answer.tokens for answer in answers])
        if server.name == "pannier":
            cells.append(get(server.port, "/memory")["kv"]["n_cells_used"])
        show(f"{server.name}: round {round + 1}", f"{wall:.2f} s, {computed[-1]} prompt tokens")
    row = {"wall_s": walls, "prompt_tokens": computed, "tokens": hash_of(tokens)}
    return {**row, "n_cells_used": cells} if cells else row


def round_s(seconds: float) -> float:
    return round(seconds, 3)


def hash_of(value: Any) -> str:
    from hashlib import sha256

    return sha256(json.dumps(value).encode()).hexdigest()[:16]


# ---------------------------------------------------------------- conversations


def conversations(commands: Commands, pairs: int, scratch: Path) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for name, make in (("pannier", commands.pannier), ("llama_server", commands.peer)):
        with running(name, make(24576, "-kvu"), scratch / f"{name}.log") as server:
            rows[name] = Talk(server).turns(range(N_TURNS))
    with tempfile.TemporaryDirectory() as cache:
        command = commands.pannier(24576, "-kvu", "--prefix-cache-dir", cache)
        with running("pannier", command, scratch / "before.log") as server:
            talk = Talk(server)
            talk.turns(range(N_TURNS // 2))
        with running("pannier", command, scratch / "after.log") as server:
            talk.server = server
            rows["pannier_restarted"] = talk.turns(range(N_TURNS // 2, N_TURNS))
    return rows


class Talk:
    """Conversations of all clients, turn by turn."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.histories = [draw(f"system {i}", 256) for i in range(N_CLIENTS)]
        self.n_new = 0
        self.n_computed = 0

    def turns(self, turns: range) -> dict[str, Any]:
        for turn in turns:
            new = [draw(f"{turn}/{i}", N_NEW) for i in range(N_CLIENTS)]
            prompts = [a + b for a, b in zip(self.histories, new, strict=True)]
            _, answers = at_once(self.server.port, prompts, N_PREDICT)
            self.n_computed += sum(answer.n_computed for answer in answers)
            first = len(self.histories[0]) if turn == 0 else 0
            # the last token of an answer was sampled only: computing it belongs to the next turn
            self.n_new += N_CLIENTS * (N_NEW + first + (turn > 0))
            self.histories = [p + a.tokens for p, a in zip(prompts, answers, strict=True)]
        ratio = round(self.n_computed / self.n_new, 3)
        show(f"{self.server.name}: {N_TURNS} turns", f"{ratio} of the new tokens computed")
        return {"new": self.n_new, "computed": self.n_computed, "ratio": ratio}


# ---------------------------------------------------------------- nothing shared


def private(commands: Commands, pairs: int, scratch: Path) -> dict[str, Any]:
    n_ctx = N_CLIENTS * (N_PRIVATE + N_PRIVATE_PREDICT + 64)
    walls: dict[str, list[float]] = {"pannier": [], "llama_kvu": [], "llama_no_kvu": []}
    for turn in range(pairs):
        prompts = [draw(f"private {turn}/{i}", N_PRIVATE) for i in range(N_CLIENTS)]
        makers: dict[str, Callable[[], list[str]]] = {
            "pannier": lambda: commands.pannier(n_ctx),
            "llama_kvu": lambda: commands.peer(n_ctx, "-kvu"),
            "llama_no_kvu": lambda: commands.peer(n_ctx, "-no-kvu"),
        }
        for name in list(makers) if turn % 2 else list(makers)[::-1]:
            with running(name, makers[name](), scratch / f"{name}.log") as server:
                at_once(server.port, [draw("warm", 40)], 4)
                wall, _ = at_once(server.port, prompts, N_PRIVATE_PREDICT)
            walls[name].append(round_s(wall))
            show(name, f"{wall:.2f} s")
    ratio = statistics.median(
        min(a, b) / ours
        for ours, a, b in zip(
            walls["pannier"], walls["llama_kvu"], walls["llama_no_kvu"], strict=True
        )
    )
    return {"wall_s": walls, "speed_over_the_better": round(ratio, 3)}


LOADS = {"shared": shared, "conversations": conversations, "private": private}


def show(what: str, figure: str) -> None:
    print(f"  {what}: {figure}", flush=True)


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    llama_server = args.llama_server or stock_server()
    report: dict[str, Any] = {
        "bench": "prefix",
        "date": date.today().isoformat(),
        "revision": revision(),
        "llama.cpp": "b11549",
        "machine": machine(),
        "models": [],
    }
    for name in args.model or ["large", "dense", "window"]:
        model = Path(name) if name.endswith(".gguf") else ensure_model(name)
        row: dict[str, Any] = {"model": model.name}
        with ExitStack() as stack:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            for load in args.load or LOADS:
                print(f"{model.name}, {load}", flush=True)
                row[load] = LOADS[load](Commands(model, llama_server), args.pairs, scratch)
                print(
                    json.dumps({k: v for k, v in row[load].items() if "ratio" in k or "over" in k})
                )
        report["models"].append(row)
    if args.out:
        args.out.write_text(json.dumps(report, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
