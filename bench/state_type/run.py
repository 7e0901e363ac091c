"""How far recurrent states in half precision lead a model away from F32.

    python bench/state_type/run.py [--model MODEL.gguf] [--tokens 2000] [--out FILE.json]

The same tokens go through the model with states in F32, F16 and BF16: text of the model's own
(temperature 1, fixed seed), so that they are likely ones. Everything else stays: KV cache in F16,
batches of the same shape. Reported over all positions: the Kullback-Leibler divergence of the next
token's distribution from that with F32 (mean, 99th percentile, largest), and how often the
likeliest token is the same; where it is not, how far apart the two were. A second run in F32 with
batches of another shape says how much of that rounding alone does.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

import pannier

sys.path.insert(0, str(Path(__file__).parents[1]))

from machine import machine, revision
from models import ensure_model

DEMO = Path(__file__).parents[2] / "convert" / "demo" / "pannier-demo.gguf"
CHUNK = 32
OTHER_CHUNK = 20
SEED = 11


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--model", action="append", help="GGUF or name in bench/models.py; default: demo, large"
    )
    parser.add_argument("--tokens", type=int, default=2000)
    parser.add_argument("--out", type=Path, help="JSON file of the results")
    return parser.parse_args(argv)


def context_of(model: pannier.Model, n_tokens: int, state: str) -> pannier.Context:
    return model.context(n_ctx=n_tokens + 64, n_outputs_max=CHUNK, n_batch=CHUNK, type_state=state)


def own_text(model: pannier.Model, n: int) -> list[int]:
    """Tokens that the model draws, an end of text among them like any other."""
    sampling = pannier.SamplingParams(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, seed=SEED)
    tokens = model.tokenize("Once", add_special=True)
    with context_of(model, n, "f32") as context:
        context.set_sampler(0, sampling)
        feed = tokens
        while len(tokens) < n:
            batch = pannier.Batch()
            batch.add(0, feed, sample=True)
            feed = [context.step(batch).sampled[0].token]
            tokens = tokens + feed
    return tokens[:n]


def log_probabilities(
    model: pannier.Model, tokens: list[int], state: str, chunk: int = CHUNK
) -> Iterator[Any]:
    """Of the next token after each one, float64 [n_vocab]."""
    with context_of(model, len(tokens), state) as context:
        for start in range(0, len(tokens), chunk):
            batch = pannier.Batch()
            batch.add(0, tokens[start : start + chunk], logits=True)
            context.step(batch)
            for row in range(len(batch)):
                logits = context.logits(row).astype(np.float64)
                logits -= logits.max()
                yield logits - np.log(np.exp(logits).sum())


def compare(of: Iterator[Any], others: Iterator[Any]) -> dict[str, Any]:
    divergences, gaps = [], []
    for a, b in zip(of, others, strict=True):
        divergences.append(float((np.exp(a) * (a - b)).sum()))
        top, other = int(a.argmax()), int(b.argmax())
        if top != other:
            gaps.append(float(a[top] - a[other]))
    n = len(divergences)
    return {
        "kl_mean": float(np.mean(divergences)),
        "kl_p99": float(np.quantile(divergences, 0.99)),
        "kl_max": float(np.max(divergences)),
        "same_top": 1 - len(gaps) / n,
        "largest_gap_where_not": max(gaps, default=0.0),
    }


def measure(path: Path, n: int) -> dict[str, Any]:
    with pannier.Model(path) as model:
        tokens = own_text(model, n)
        rows: dict[str, Any] = {}
        for state in ("f16", "bf16"):
            rows[state] = compare(
                log_probabilities(model, tokens, "f32"), log_probabilities(model, tokens, state)
            )
        rows["f32, other batches"] = compare(
            log_probabilities(model, tokens, "f32"),
            log_probabilities(model, tokens, "f32", OTHER_CHUNK),
        )
        sizes = {}
        for state in ("f32", "f16"):
            with context_of(model, n, state) as context:
                sizes[state] = context.recurrent_seq_bytes
    for name, row in rows.items():
        print(f"  {name}: " + ", ".join(f"{key} {value:.3g}" for key, value in row.items()))
    return {"model": path.name, "n_tokens": n, "state_bytes": sizes, **rows}


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    report: dict[str, Any] = {
        "bench": "state_type",
        "date": date.today().isoformat(),
        "revision": revision(),
        "llama.cpp": "b11549",
        "machine": machine(),
        "models": [],
    }
    for name in args.model or [str(DEMO), "large"]:
        path = Path(name) if name.endswith(".gguf") else ensure_model(name)
        print(path.name, flush=True)
        report["models"].append(measure(path, args.tokens))
    if args.out:
        args.out.write_text(json.dumps(report, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
