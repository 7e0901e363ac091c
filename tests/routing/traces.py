"""Traces without a model: drawn at random, or by what `pannier synth` makes routers do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pannier.routing import Trace, TracedModel, Ubatch
from pannier.synth.routing import STAY, Routing, biases, topic_share

N_TOPICS = 1024


def model(n_layers: int, n_expert: int, n_used: int, rest_bytes: int = 0) -> TracedModel:
    return TracedModel("m.gguf", "a model", "qwen3moe", n_layers, n_expert, n_used, rest_bytes)


def trace_of(
    chosen: Sequence[Sequence[np.ndarray]],
    n_expert: int,
    layouts: Sequence[int] = (),
    expert_bytes: Sequence[int] = (),
    sequences: Sequence[tuple[int, ...]] = (),
) -> Trace:
    """A trace of ubatches, each [n_rows, n_used] for each layer."""
    n_layers, n_used = len(chosen[0]), chosen[0][0].shape[1]
    ubatches = tuple(
        Ubatch(
            max(map(len, layers)),
            tuple(rows.astype(np.uint16) for rows in layers),
            sequences[i] if sequences else (),
        )
        for i, layers in enumerate(chosen)
    )
    return Trace(
        model=model(n_layers, n_expert, n_used),
        engine="cpu-0",
        layers=tuple(range(n_layers)),
        expert_bytes=tuple(expert_bytes) or (1000,) * n_layers,
        layouts=tuple(layouts) or (0,) * n_layers,
        ubatches=ubatches,
    )


def random_trace(
    seed: int, n_expert: int = 16, n_used: int = 2, layouts: Sequence[int] = (0, 0, 1)
) -> Trace:
    """Ubatches of one to forty tokens, in which nobody chooses as before; the last layer computes
    some of them only."""
    random = np.random.default_rng(seed)
    chosen = []
    for _ in range(120):
        n = int(random.choice([1, 1, 1, 2, 5, 8, 32, 33, 40]))
        rows = [int(n)] * (len(layouts) - 1) + [int(random.integers(0, n + 1))]
        chosen.append(
            [random.random((n_rows, n_expert)).argsort(axis=1)[:, :n_used] for n_rows in rows]
        )
    sizes = [1000 + 500 * layout for layout in layouts]
    return trace_of(chosen, n_expert, layouts, sizes)


def drawn_trace(
    routing: Routing, n_tokens: int, n_layers: int = 2, n_expert: int = 128, n_used: int = 6
) -> Trace:
    """One text whose topic changes now and then, a token at a time."""
    random = np.random.default_rng(7)
    changes = random.random(n_tokens) > STAY
    spans = np.maximum.accumulate(np.where(changes, np.arange(n_tokens), 0))
    topic = random.integers(0, N_TOPICS, n_tokens)[spans]
    share = topic_share(n_expert, n_used, routing)
    layers = []
    for _ in range(n_layers):
        bias = random.permutation(biases(n_expert, n_used, routing.skew))
        liked = random.standard_normal((N_TOPICS, n_expert))[topic]
        own = random.standard_normal((n_tokens, n_expert))
        logits = bias + share**0.5 * liked + (1 - share) ** 0.5 * own
        layers.append(np.argpartition(-logits, n_used)[:, :n_used])
    return trace_of([[rows[t : t + 1] for rows in layers] for t in range(n_tokens)], n_expert)
