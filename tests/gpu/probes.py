"""What the GPU tests run in a process of its own, since a process loads one engine only.

python probes.py NAME JSON        prints its result as JSON
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

import pannier

Rows = npt.NDArray[np.float32]
F32 = {"type_k": "f32", "type_v": "f32", "flash_attn": "off"}
"""A cache and an attention that round nothing to half precision."""
KINDS = ("weights", "kv", "recurrent", "rollback", "compute", "output", "moe_cache", "lora")


def logits(
    folder: str, model: dict[str, Any], context: dict[str, Any] | None = None, chunk: int = 48
) -> dict[str, Any]:
    """The tiny checkpoint's logits after every token of its prompt, against transformers'.

    chunk: tokens in one step.
    """
    reference = np.load(f"{folder}/reference.npz")
    prompt = [int(token) for token in reference["prompt"]]
    options = {"n_ctx": 256, "n_outputs_max": 64, **F32, **(context or {})}
    with (
        pannier.Model(f"{folder}/model-f32.gguf", **model) as loaded,
        loaded.context(**options) as ctx,
    ):
        found = feed(ctx, prompt, chunk)
        report = ctx.memory()
        ctx.sequence(0).clear()
        greedy = choose(ctx, prompt, len(reference["greedy"]), chunk)
    return {
        **errors(found, reference["logits"]),
        "greedy_is_right": greedy == reference["greedy"].tolist(),
        **memory(report),
    }


def feed(ctx: pannier.Context, tokens: Sequence[int], chunk: int, seq_id: int = 0) -> Rows:
    """Logits after every token, [n_tokens, n_vocab]."""
    rows: list[Any] = []
    for start in range(0, len(tokens), chunk):
        batch = pannier.Batch()
        batch.add(seq_id, tokens[start : start + chunk], logits=True)
        ctx.step(batch)
        rows += [ctx.logits(row) for row in range(len(batch))]
    return np.stack(rows)


def choose(ctx: pannier.Context, prompt: list[int], n: int, chunk: int) -> list[int]:
    """The n greedy tokens after a prompt."""
    rows = feed(ctx, prompt, chunk)
    tokens = [int(rows[-1].argmax())]
    while len(tokens) < n:
        tokens.append(int(feed(ctx, tokens[-1:], 1)[-1].argmax()))
    return tokens


def errors(found: Rows, expected: Rows) -> dict[str, float]:
    """Relative errors, of all rows together and of the rows one by one."""
    lengths = np.linalg.norm(expected, axis=1)
    rows = np.linalg.norm(found - expected, axis=1) / lengths
    whole = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    return {
        "error": float(whole),
        "error_median": float(np.median(rows)),
        "error_most": float(np.quantile(rows, 0.9)),
    }


def memory(report: pannier.MemoryReport) -> dict[str, Any]:
    """Bytes by kind on devices and in host memory, and the two sums."""

    def total(kind: str, is_host: bool) -> int:
        return sum(r.bytes for r in report.rows if r.kind == kind and r.is_host == is_host)

    return {
        "device": {kind: total(kind, False) for kind in KINDS},
        "host": {kind: total(kind, True) for kind in KINDS},
        "sum": report.total_bytes,
        "allocated": report.allocated_bytes,
    }


def driver(path: str, model: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    """How much free memory the first GPU lost, in the driver's words, and what we say of it."""
    if not gpus():
        return {}
    with pannier.Model(path, **model) as loaded:
        # A first context: the backend takes memory of its own once.
        with loaded.context(n_ctx=256, n_outputs_max=4) as first:
            feed(first, [1, 2, 3], 3)
        before = gpus()[0].memory_free
        with loaded.context(n_outputs_max=4, **context) as ctx:
            feed(ctx, [1, 2, 3], 3)
            after = gpus()[0].memory_free
            found = memory(ctx.memory())
    return {"lost": before - after, **found}


def ledger(path: str, model: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    """Owners and the driver's figures, with a context of 256 cells and then with the one asked for,
    or as much of it as half of the memory that is free then. Both are strict."""
    with pannier.Model(path, **model) as loaded:
        with loaded.context(strict=True, n_outputs_max=8, **context | {"n_ctx": 256}) as ctx:
            small = owners(ctx)
            cells = small["free"] // 2 // max(1, ctx.kv_cell_bytes)
        n_ctx = min(context["n_ctx"], cells // 256 * 256)
        with loaded.context(strict=True, n_outputs_max=8, **context | {"n_ctx": n_ctx}) as ctx:
            large = owners(ctx)
    owned, measured = (large[name] - small[name] for name in ("owned", "measured"))
    return {
        "n_ctx": n_ctx,
        "small": small,
        "large": large,
        "untracked_share": large["untracked"] / large["measured"],
        "growth": {"owned": owned, "measured": measured, "owned_over_measured": owned / measured},
    }


def owners(ctx: pannier.Context) -> dict[str, Any]:
    """The ledger of the first GPU, else of system memory, after a step.

    Raises AssertionError where owners and what is untracked are not what is measured there.
    """
    feed(ctx, [1, 2, 3], 3)
    rows = ctx.memory().devices
    row = next((row for row in rows if row.type in ("gpu", "igpu")), rows[0])
    in_use = row.total_bytes - row.free_bytes
    measured = in_use if row.process_bytes is None else row.process_bytes
    # Pages of system memory that nobody wrote to have an owner, and are not resident.
    assert row.owned_bytes <= measured or row.type == "cpu", (row, in_use)
    assert row.owned_bytes + row.untracked_bytes == max(measured, row.owned_bytes), row
    return {
        "device": row.name,
        "free": row.free_bytes,
        "measured": measured,
        "measured_by": "device" if row.process_bytes is None else "process",
        "kinds": {**row.kinds, "pool": row.pool_bytes},
        "owned": row.owned_bytes,
        "untracked": row.untracked_bytes,
    }


def together(path: str, model: dict[str, Any], n_steps: int) -> dict[str, Any]:
    """Eight sequences in one batch, and each alone on the same tokens."""
    with pannier.Model(path, **model) as loaded:
        prompts = [loaded.tokenize(f"{number} and so on")[:8] for number in range(8)]
        with loaded.context(n_ctx=2048, n_parallel=8, n_outputs_max=64, **F32) as ctx:
            alone = []
            for prompt in prompts:
                tokens = [*prompt, *choose(ctx, prompt, n_steps, 48)]
                ctx.sequence(0).clear()
                alone.append((tokens, feed(ctx, tokens, 1)))
                ctx.sequence(0).clear()
            rows = step_by_step(ctx, [tokens for tokens, _ in alone])
    found = np.concatenate([row for row, _ in zip(rows, alone, strict=True)])
    expected = np.concatenate([row for _, row in alone])
    agree = found.argmax(axis=1) == expected.argmax(axis=1)
    return {**errors(found, expected), "same_choice": float(agree.mean()), "rows": len(found)}


def step_by_step(ctx: pannier.Context, texts: list[list[int]]) -> list[Rows]:
    """Logits of several sequences, one token of each in every step."""
    rows: list[list[Any]] = [[] for _ in texts]
    for at in range(max(map(len, texts))):
        batch = pannier.Batch()
        active = [seq_id for seq_id, text in enumerate(texts) if at < len(text)]
        for seq_id in active:
            batch.add(seq_id, [texts[seq_id][at]], logits=True)
        ctx.step(batch)
        for row, seq_id in enumerate(active):
            rows[seq_id].append(ctx.logits(row))
    return [np.stack(found) for found in rows]


def gpus() -> list[pannier.Device]:
    """The devices that are not the processor."""
    return [device for device in pannier.devices() if device.type in ("gpu", "igpu")]


PROBES = {"logits": logits, "driver": driver, "ledger": ledger, "together": together}


if __name__ == "__main__":
    result = PROBES[sys.argv[1]](**json.loads(sys.argv[2]))
    sys.stdout.write(json.dumps({"gpus": [device.name for device in gpus()], **result}) + "\n")
