"""One `Llama`, several threads: what `run.py` has each module do in a process of its own.

    python bench/threads/load.py MODULE MODEL '{"threads": 8, ...}'

prints JSON. llama-cpp-python's Llama is behind a lock, as it is not to be shared otherwise.
"""

from __future__ import annotations

import importlib
import json
import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any


class Stopped(Exception):
    """What a criterion raises."""


def make(module: Any, model: str, wish: dict[str, Any], **more: Any) -> Any:
    options = {"n_ctx": wish["n_ctx"], "n_threads": wish["n_threads"],
               "n_threads_batch": wish["n_threads"], "verbose": False}  # fmt: skip
    if module.__name__ == "pannier":
        options |= {"n_parallel": wish["threads"], "n_cells": wish["n_cells"]}
    return module.Llama(model, **options, **more)


def prompts(wish: dict[str, Any], round: int) -> list[list[int]]:
    """For each thread a common beginning, if there is one, and tokens of its own."""
    draw = random.Random(1)
    shared = [draw.randrange(wish["vocab"]) for _ in range(wish["shared"])]
    draw = random.Random(1000 + round)
    return [
        shared + [draw.randrange(wish["vocab"]) for _ in range(wish["own"])]
        for _ in range(wish["threads"])
    ]


def throughput(module: Any, model: str, wish: dict[str, Any]) -> dict[str, Any]:
    """Seconds of rounds in which each thread has one completion."""
    llama = make(module, model, wish)
    lock = nullcontext() if module.__name__ == "pannier" else threading.Lock()

    def call(prompt: list[int]) -> int:
        with lock:
            answer = llama(prompt, max_tokens=wish["predict"], temperature=0.0,
                           logit_bias=dict.fromkeys(wish["ends"], -100.0))  # fmt: skip
        return int(answer["usage"]["completion_tokens"])

    call(prompts(wish, -1)[0][:16])  # the first step prepares
    rounds = []
    with ThreadPoolExecutor(wish["threads"]) as threads:
        for round in range(wish["rounds"]):
            started = time.perf_counter()
            n = sum(threads.map(call, prompts(wish, round)))
            rounds.append({"seconds": time.perf_counter() - started, "tokens": n})
    return {"rounds": rounds}


def least_gap(answer: dict[str, Any]) -> float:
    """By how much each token was likelier than the next best, in nats, where that was closest."""
    rows = answer["choices"][0]["logprobs"]["top_logprobs"]
    best = [sorted(row.values(), reverse=True)[:2] for row in rows]
    return min(float(first - second) for first, second in best)


def clearest(module: Any, model: str, wish: dict[str, Any]) -> tuple[list[int], str, float]:
    """Of some short prompts that with the clearest answer, the answer alone, and its least gap:
    a quantised model's logits depend a little on how many tokens a step has."""
    llama = make(module, model, wish | {"threads": 1}, logits_all=True)
    draw = random.Random(2)
    found = []
    for _ in range(64):
        prompt = [draw.randrange(wish["vocab"]) for _ in range(3)]
        answer = llama(prompt, max_tokens=4, temperature=0.0, logprobs=2)
        if len(answer["choices"][0]["logprobs"]["top_logprobs"]) == 4:
            found.append((least_gap(answer), prompt, answer["choices"][0]["text"]))
    llama.close()
    gap, prompt, text = max(found)
    return prompt, text, gap


def calls(module: Any, model: str, wish: dict[str, Any]) -> dict[str, Any]:
    """Short calls of which every third raises in a stopping criterion; what came of them."""
    prompt, expected, gap = clearest(module, model, wish)
    llama = make(module, model, wish)

    def raises(tokens: Any, logits: Any) -> bool:
        raise Stopped

    failing = module.StoppingCriteriaList([raises])

    def call(i: int) -> str:
        functions = {"stopping_criteria": failing} if i % 3 == 0 else {}
        try:
            answer = llama(prompt, max_tokens=4, temperature=0.0, **functions)
        except Stopped:
            return "raised"
        return "right" if answer["choices"][0]["text"] == expected else "wrong"

    started = time.perf_counter()
    with ThreadPoolExecutor(wish["threads"]) as threads:
        found = list(threads.map(call, range(wish["calls"])))
    seconds = time.perf_counter() - started
    llama.close()
    counts = {name: found.count(name) for name in ("right", "raised", "wrong")}
    return counts | {"least_gap": gap, "seconds": seconds}


def main(name: str, model: str, text: str) -> None:
    wish = json.loads(text)
    work = calls if wish.get("calls") else throughput
    sys.stdout.write(json.dumps(work(importlib.import_module(name), model, wish)) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
