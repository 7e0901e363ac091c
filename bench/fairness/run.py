"""What clients do to each other: pannier and llama-server, same GGUF, same flags.

  python bench/fairness/run.py [--model large] [--load long-prompt ...] [--out FILE]

long-prompt   four clients stream while a prompt of 16,000 tokens comes: the time between their
              tokens meanwhile, and when the prompt is done; both servers, in turns
over-budget   32 clients want half of the cache each, one twice of it: pannier
bad-steps     1,000 greedy requests, a fault in every 50th step: pannier's loop in this process
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
import threading
import time
from datetime import date
from itertools import pairwise
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from http_client import Answer, complete
from machine import machine, revision
from models import ensure_model
from peer import Server, pannier_command, running, stock_server

N_LONG = 16_000
N_STREAMS = 4
TINY = Path(__file__).parents[2] / "tests" / "data" / "qwen3next" / "model-f32.gguf"


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="large", help="GGUF or name in bench/models.py")
    parser.add_argument("--load", action="append", choices=tuple(LOADS), help="default: all")
    parser.add_argument("--pairs", type=int, default=2, help="turns of each server")
    parser.add_argument("--llama-server", help="binary; default: the stock engine's")
    parser.add_argument("--out", type=Path, help="JSON file of the results")
    return parser.parse_args(argv)


def draw(seed: str, n: int) -> list[int]:
    rng = random.Random(seed)
    return [rng.randrange(3, 250) for _ in range(n)]


def common(model: Path, n_ctx: int, n_slots: int) -> list[str]:
    threads = str(os.cpu_count() or 1)
    return ["-m", str(model), "-np", str(n_slots), "-c", str(n_ctx), "-t", threads]


# ---------------------------------------------------------------- a long prompt


def long_prompt(args: argparse.Namespace, model: Path, scratch: Path) -> dict[str, Any]:
    flags = [*common(model, 24_576, N_STREAMS + 1), "-kvu"]
    commands = {
        "pannier": pannier_command("serve", *flags),
        "llama_server": [args.llama_server or stock_server(), *flags, "--no-webui"],
    }
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
    for turn in range(args.pairs):
        for name in list(commands) if turn % 2 else list(commands)[::-1]:
            with running(name, commands[name], scratch / f"{name}.log") as server:
                rows[name].append(asyncio.run(disturb(server, turn)))
                print(f"  {name}: {rows[name][-1]}", flush=True)
    pairs = list(zip(rows["pannier"], rows["llama_server"], strict=True))
    return {
        **rows,
        "ratio": {
            key: round(statistics.median(a[key] / b[key] for a, b in pairs), 3)
            for key in ("p99_between_tokens_ms", "prompt_s")
        },
    }


async def disturb(server: Server, turn: int) -> dict[str, float]:
    await complete(server.port, draw("warm", 40), 4)
    start = time.perf_counter()
    streams = [
        asyncio.create_task(complete(server.port, draw(f"{turn}/{i}", 32), 1500, stream=True))
        for i in range(N_STREAMS)
    ]
    await asyncio.sleep(2)
    begun = time.perf_counter()
    long = await complete(server.port, draw(f"long {turn}", N_LONG), 1)
    ended = time.perf_counter()
    answers: list[Answer] = await asyncio.gather(*streams)
    pauses = []
    for answer in answers:
        inside = [t + start for t in answer.token_times_s if begun <= t + start <= ended]
        pauses += [b - a for a, b in pairwise(inside)]
    assert long.status == 200
    return {
        "p99_between_tokens_ms": round(1000 * statistics.quantiles(pauses, n=100)[-1], 1),
        "median_between_tokens_ms": round(1000 * statistics.median(pauses), 1),
        "longest_between_tokens_ms": round(1000 * max(pauses), 1),
        "n_tokens_meanwhile": float(len(pauses)),
        "prompt_s": round(ended - begun, 2),
    }


# ---------------------------------------------------------------- more than there is


def over_budget(args: argparse.Namespace, model: Path, scratch: Path) -> dict[str, Any]:
    n_ctx = 4096
    command = pannier_command("serve", *common(model, n_ctx, 8))
    with running("pannier", command, scratch / "over.log") as server:
        row = asyncio.run(crowd(server, n_ctx))
    print(f"  {row}", flush=True)
    return row


async def crowd(server: Server, n_ctx: int) -> dict[str, Any]:
    half = n_ctx // 2
    work = [
        asyncio.create_task(complete(server.port, draw(f"half {i}", half - 64), 64, stream=i < 8))
        for i in range(32)
    ]
    await asyncio.sleep(1)
    refusals = [await complete(server.port, draw("twice", 2 * n_ctx), 8) for _ in range(5)]
    answers = await asyncio.gather(*work)
    return {
        "finished": sum(answer.status == 200 for answer in answers),
        "of": len(answers),
        "refused_with": sorted({answer.status for answer in refusals}),
        "refused_in_ms": [round(1000 * answer.wall_s, 1) for answer in refusals],
        "refusal": refusals[0].body["error"]["message"],
    }


# ---------------------------------------------------------------- steps that fail


def bad_steps(args: argparse.Namespace, model: Path, scratch: Path) -> dict[str, Any]:
    from pannier import Model

    exact = {"type_k": "f32", "type_v": "f32", "flash_attn": "off", "n_threads": 1}
    with (
        Model(TINY) as tiny,
        tiny.context(n_ctx=4096, n_parallel=14, n_batch=256, **exact) as context,
        tiny.context(n_ctx=1024, **exact) as alone,
    ):
        faulty = Faulty(context)
        said, ends = serve_all(tiny, faulty)
        gaps = [gap_of(alone, prompt_of(id), tokens) for id, tokens in said.items()]
    other = [gap for gap in gaps if gap]
    row = {
        "requests": len(said),
        "steps": faulty.n_steps,
        "faults": faulty.n_faults,
        "ends": {end: ends.count(end) for end in set(ends)},
        "same_tokens_as_alone": len(gaps) - len(other),
        "flips": [round(gap, 6) for gap in other],
    }
    print(f"  {row}", flush=True)
    return row


class Faulty:
    """A context whose every 50th step fails as a compute error does: half of them before, half
    after the work."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self.n_steps = 0
        self.n_faults = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def step(self, batch: Any, n_top: int = 0) -> Any:
        from pannier.errors import DecodeError

        self.n_steps += 1
        if self.n_steps % 50:
            return self._context.step(batch, n_top)
        self.n_faults += 1
        if self.n_faults % 2:
            self._context.step(batch, n_top)
        for seq_id in set(batch.seq_ids):
            self._context.sequence(seq_id).clear()
        raise DecodeError("a fault on purpose")


def prompt_of(id: int) -> list[int]:
    """A quarter of them share a prefix."""
    return draw("common", 60) * (id % 4 == 0) + draw(f"own {id}", 10 + id % 50)


def serve_all(model: Any, context: Faulty) -> tuple[dict[int, list[int]], list[str]]:
    from pannier.sampling import SamplingParams
    from pannier.server.engine import limits
    from pannier.server.loop import EngineLoop
    from pannier.server.messages import Shutdown, StepOutputs, Submit
    from pannier.server.scheduler import Scheduler

    ours, theirs = Pipe()
    loop = EngineLoop(theirs, context, Scheduler(limits(context, 8), model.eog_tokens))
    thread = threading.Thread(target=loop.run)
    thread.start()
    said: dict[int, list[int]] = {id: [] for id in range(1, 1001)}
    ends: list[str] = []
    greedy = SamplingParams.greedy()
    waiting = [Submit(id, prompt_of(id), greedy, max_tokens=8 + id % 16) for id in said]
    for _ in range(16):
        ours.send(waiting.pop(0))
    while len(ends) < len(said):
        message = ours.recv()
        for output in message.outputs if isinstance(message, StepOutputs) else ():
            said[output.id] += output.tokens
            if output.finish:
                ends.append(output.error or output.finish)
                if waiting:
                    ours.send(waiting.pop(0))
    ours.send(Shutdown())
    thread.join()
    return said, ends


def gap_of(context: Any, prompt: list[int], said: list[int]) -> float:
    """How much likelier another token was where the answer first differs from it; 0: nowhere."""
    from pannier.batch import Batch

    context.sequence(0).clear()
    tokens = list(prompt)
    for token in said:
        batch = Batch()
        batch.add(0, tokens)
        batch.outputs[-1] = 2
        context.step(batch)
        logits = context.logits(len(batch) - 1)
        if gap := float(logits.max() - logits[token]):
            return gap
        tokens = [token]
    return 0.0


LOADS = {"long-prompt": long_prompt, "over-budget": over_budget, "bad-steps": bad_steps}


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    model = Path(args.model) if args.model.endswith(".gguf") else ensure_model(args.model)
    report: dict[str, Any] = {
        "bench": "fairness",
        "date": date.today().isoformat(),
        "revision": revision(),
        "llama.cpp": "b11549",
        "machine": machine(),
        "model": model.name,
    }
    with tempfile.TemporaryDirectory() as scratch:
        for load in args.load or LOADS:
            print(load, flush=True)
            report[load] = LOADS[load](args, model, Path(scratch))
    if args.out:
        args.out.write_text(json.dumps(report, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
