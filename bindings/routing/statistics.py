"""How unevenly a layer's experts are used, and how much tokens that follow each other share.

A trace is a sample: counts of experts that are used evenly are uneven by chance, and more so the
shorter it is. So what depends on squares of shares is estimated from products of counts in
different parts of the trace, which have chance in common only where a topic goes over a border.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..synth.routing import MAX_SKEW, use_shares
from .trace import Counts, Trace

Floats = NDArray[np.float64]

N_PARTS = 8
"""Of a trace, that are compared with each other."""
TOP_SHARES = (0.05, 0.1, 0.25, 0.5)


@dataclass(frozen=True)
class LayerStatistics:
    """Figures of one layer."""

    layer: int
    n_uses: int
    top: tuple[float, ...]
    """Share of the uses that the most used experts have, for each of TOP_SHARES of them."""
    skew: float
    """s, if the expert of rank r is used in proportion to r^-s."""
    entropy: float
    """Of the expert of a use, in bits, corrected for the sample's size (Miller and Madow)."""
    repeated: float | None
    """Share of a token's experts that the token before it in its text used; None: no such pair."""
    chance: float
    """The same of two tokens that have nothing to do with each other."""


def layer_statistics(trace: Trace) -> tuple[LayerStatistics, ...]:
    """Of each layer with experts."""
    return tuple(_layer(trace, i) for i in range(len(trace.layers)))


def _layer(trace: Trace, index: int) -> LayerStatistics:
    model = trace.model
    counts = trace.counts[index]
    square = square_of_shares(parts(trace, index))
    return LayerStatistics(
        layer=trace.layers[index],
        n_uses=int(counts.sum()),
        top=tuple(top_share(counts, share) for share in TOP_SHARES),
        skew=skew_of(square, model.n_expert, model.n_expert_used),
        entropy=entropy_of(counts),
        repeated=repetition(trace, index),
        chance=min(1.0, model.n_expert_used * square),
    )


def parts(trace: Trace, index: int) -> Counts:
    """Counts of a layer in parts of the trace, [N_PARTS, n_expert]."""
    chosen = np.array_split(trace.by_layer[index], N_PARTS)
    return np.stack([np.bincount(part.ravel(), minlength=trace.model.n_expert) for part in chosen])


def square_of_shares(counts: Counts) -> float:
    """Sum of the squares of the experts' shares of all uses, from counts in parts,
    [n_parts, n_expert]; of evenly used ones 1 / n_expert, which is the least."""
    n_expert = counts.shape[1]
    sizes = counts.sum(axis=1)
    pairs = float(sizes.sum()) ** 2 - float((sizes.astype(float) ** 2).sum())
    if not pairs:
        return 1 / n_expert
    products = counts.sum(axis=0).astype(float) ** 2 - (counts.astype(float) ** 2).sum(axis=0)
    return max(1 / n_expert, float(products.sum()) / pairs)


def skew_of(square: float, n_expert: int, n_used: int) -> float:
    """The exponent with which shares have this sum of squares."""
    low, high = 0.0, MAX_SKEW
    while high - low > 1e-4:
        middle = (low + high) / 2
        shares = use_shares(n_expert, n_used, middle) / n_used
        if float((shares**2).sum()) < square:
            low = middle
        else:
            high = middle
    return low


def top_share(counts: Counts, share: float) -> float:
    """Of all uses, those of the most used experts: this share of the experts."""
    n_top = max(1, round(share * len(counts)))
    total = int(counts.sum())
    return float(np.sort(counts)[::-1][:n_top].sum()) / total if total else 0.0


def entropy_of(counts: Counts) -> float:
    """In bits."""
    total = int(counts.sum())
    if not total:
        return 0.0
    shares = counts[counts > 0] / total
    bits = -(shares * np.log2(shares)).sum() + (len(shares) - 1) / (2 * total * np.log(2))
    return float(min(bits, np.log2(len(counts))))


def repetition(trace: Trace, index: int) -> float | None:
    """Share of a layer's choices that the token before, of the same text, made too."""
    repeated, n = 0, 0
    for before, after in pairs(trace, index):
        repeated += int((after[:, :, None] == before[:, None, :]).sum())
        n += after.size
    return repeated / n if n else None


def pairs(trace: Trace, index: int) -> Iterator[tuple[NDArray[np.uint16], NDArray[np.uint16]]]:
    """Tokens and those that follow them in their texts, both [n_pairs, n_used]; a layer that did
    not compute all tokens of an ubatch breaks the chain."""
    last: dict[int, NDArray[np.uint16]] = {}
    for ubatch in trace.ubatches:
        chosen = ubatch.experts[index]
        texts = np.array(ubatch.sequences or (0,) * ubatch.n_tokens)
        if len(chosen) != len(texts):
            for text in set(texts.tolist()):
                last.pop(text, None)
            continue
        for text in dict.fromkeys(texts.tolist()):
            rows = chosen[texts == text]
            known = [last[text][None]] if text in last else []
            yield np.concatenate([*known, rows[:-1]]), rows[1 - len(known) :]
            last[text] = rows[-1]
