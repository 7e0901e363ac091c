"""Random use of contexts: `python fuzz_context.py SEED`. Only PannierError may come out.

An abort of the process is what this looks for, so it runs in one of its own.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pannier

DATA = Path(__file__).parents[1] / "data"
MODELS = [
    *(DATA / family / "model-f32.gguf" for family in ("llama", "qwen3moe", "gemma3", "qwen3next")),
    DATA / "qwen35moe-rollback.gguf",
]


def options(rng: random.Random) -> dict[str, Any]:
    """Mostly sound, sometimes not."""
    odd = rng.random() < 0.3
    return {
        "n_ctx": rng.choice([0, 1, 255, 257, 2**32 - 1, -1] if odd else [256, 300, 1024]),
        "n_parallel": rng.choice([0, 64, 256, 257] if odd else [1, 2, 3, 7]),
        "n_batch": rng.choice([1, 33, 5000, 2**31] if odd else [64, 200, 512]),
        "n_ubatch": rng.choice([1, 2, 7, 512]),
        "type_k": rng.choice(["f32", "f16", "q8_0", "q4_0", "iq4_nl"]),
        "type_v": rng.choice(["f32", "f16", "f16", "q8_0"]),
        "flash_attn": rng.choice(["auto", "on", "off"]),
        "kv_unified": rng.random() < 0.6,
        "swa_full": rng.random() < 0.3,
        "n_rs_seq": rng.choice([0, 0, 1, 4]),
        "n_outputs_max": rng.choice([0, 0, 300]),
        "moe_cache_bytes": rng.choice([0, 0, 0, 1 << 20]) if odd else 0,
        "offload_kqv": rng.random() < 0.8,
        "n_threads": 1,
    }


def some(context: pannier.Context, rng: random.Random) -> pannier.Sequence:
    return context.sequence(rng.randrange(context.n_parallel))


def step(context: pannier.Context, rng: random.Random) -> None:
    batch = pannier.Batch()
    for seq_id in rng.sample(range(context.n_parallel), k=min(context.n_parallel, 3)):
        if rng.random() < 0.7:
            params = pannier.SamplingParams(
                temperature=rng.choice([0, 1]), repeat_penalty=rng.choice([1, 1.3])
            )
            context.set_sampler(seq_id, params, n_probs=rng.choice([0, 3]))
        tokens = [rng.randrange(0, 250) for _ in range(rng.choice([1, 1, 3, 17, 60]))]
        draft = [rng.randrange(0, 250) for _ in range(rng.choice([0, 0, 1, 4, 9]))]
        sample, logits = rng.random() < 0.7, rng.random() < 0.2
        batch.add(seq_id, tokens, sample=sample, logits=logits, draft=draft)
    context.step(batch, n_top=rng.choice([0, 3]))


def copy(context: pannier.Context, rng: random.Random) -> None:
    some(context, rng).copy_to(rng.randrange(context.n_parallel))


def remove(context: pannier.Context, rng: random.Random) -> None:
    some(context, rng).remove(rng.randrange(-1, 40), rng.randrange(-1, 60))


def move_state(context: pannier.Context, rng: random.Random) -> None:
    """Save one sequence, load it into another, at times with a flipped bit."""
    state = bytearray(some(context, rng).save())
    if state and rng.random() < 0.4:
        state[rng.randrange(len(state))] ^= 1 << rng.randrange(8)
    some(context, rng).load(bytes(state))


def report(context: pannier.Context, rng: random.Random) -> None:
    memory = context.memory()
    assert memory.allocated_bytes in (0, memory.total_bytes)


ACTIONS = [step] * 6 + [copy, remove, move_state, report]


def main(seed: int) -> None:
    rng = random.Random(seed)
    ends: Counter[str] = Counter()
    with pannier.Model(rng.choice(MODELS)) as model:
        for _ in range(25):
            try:
                context = model.context(**options(rng))
            except pannier.PannierError as error:
                ends[type(error).__name__] += 1
                continue
            with context:
                for _ in range(30):
                    try:
                        rng.choice(ACTIONS)(context, rng)
                        ends["ok"] += 1
                    except pannier.PannierError as error:
                        ends[type(error).__name__] += 1
    sys.stdout.write(f"{ends['ok']} {ends.total()}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
