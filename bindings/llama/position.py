"""The sequence that `eval`, `sample`, `save_state` and `load_state` are about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .callables import Logits


@dataclass
class LlamaState:
    """What `save_state` saves. `llama_state` is not used: the engine keeps what it computed for
    these tokens, or computes it again."""

    input_ids: npt.NDArray[np.intc]
    scores: npt.NDArray[np.single]
    n_tokens: int
    llama_state: bytes
    llama_state_size: int
    seed: int


class Position:
    """Tokens that were evaluated, and the logits behind them."""

    def __init__(self, n_ctx: int, n_vocab: int, n_rows: int) -> None:
        self.n_ctx = n_ctx
        self.n_vocab = n_vocab
        self.tokens: list[int] = []
        self.last: Logits | None = None
        """Behind the last token; None: not computed."""
        self._n_rows = n_rows
        self._scores: npt.NDArray[np.single] | None = None

    @property
    def input_ids(self) -> npt.NDArray[np.intc]:
        """[n_ctx], zeros behind the tokens."""
        ids = np.zeros(self.n_ctx, dtype=np.intc)
        ids[: len(self.tokens)] = self.tokens
        return ids

    @property
    def scores(self) -> npt.NDArray[np.single]:
        """Logits by token, [n_ctx, n_vocab] with `logits_all`, else [n_batch, n_vocab], zeros."""
        if self._scores is None:
            self._scores = np.zeros((self._n_rows, self.n_vocab), dtype=np.single)
        return self._scores

    def note(self, tokens: Sequence[int], rows: Sequence[Logits], *, all: bool) -> None:
        """These tokens were evaluated behind the others."""
        if all:
            n = len(self.tokens)
            self.scores[n : n + len(rows)] = rows
        self.tokens += tokens
        self.last = rows[-1]

    def row(self, index: int, compute: Callable[[], Logits]) -> Logits:
        """Logits behind a token, by its index; those of the last one are computed if they are not
        there. Raises IndexError for another one without `logits_all`."""
        if index == len(self.tokens) - 1:
            if self.last is None:
                self.last = compute()
            return self.last
        if self._n_rows < self.n_ctx or not 0 <= index < len(self.tokens):
            raise IndexError(
                f"no logits of token {index}: of {len(self.tokens)} tokens there are those of the "
                "last one; with logits_all=True of each"
            )
        row: Logits = self.scores[index]
        return row

    def cut(self, n: int) -> None:
        """Keep the first n tokens."""
        if n < len(self.tokens):
            self.tokens, self.last = self.tokens[:n], None

    def save(self, seed: int) -> LlamaState:
        n = len(self.tokens)
        scores = self.scores[:n].copy() if self._n_rows >= self.n_ctx else self.scores[:0].copy()
        return LlamaState(self.input_ids, scores, n, b"", 0, seed)

    def load(self, state: Any) -> None:
        self.tokens = [int(token) for token in state.input_ids[: state.n_tokens]]
        self.last = None
        if self._n_rows >= self.n_ctx:
            self.scores[: len(state.scores)] = state.scores
