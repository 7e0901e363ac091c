"""Drafts from the prompt itself, under llama-cpp-python's name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import ArgumentError


@dataclass(frozen=True)
class LlamaPromptLookupDecoding:
    """Guess what followed the last tokens before, and check it in one step.

    Args:
        max_ngram_size: tokens that are compared.
        num_pred_tokens: most tokens that are guessed at once.
    """

    max_ngram_size: int = 2
    num_pred_tokens: int = 10

    def __post_init__(self) -> None:
        if self.max_ngram_size < 1 or self.num_pred_tokens < 1:
            raise ArgumentError(f"{self}: both must be at least 1")

    def __call__(self, input_ids: npt.NDArray[np.intc], /, **_: object) -> npt.NDArray[np.intc]:
        """What may follow these tokens."""
        return self.find_candidate_pred_tokens(
            input_ids, max_ngram_size=self.max_ngram_size, num_pred_tokens=self.num_pred_tokens
        )

    @staticmethod
    def find_candidate_pred_tokens(
        input_ids: Sequence[int] | npt.NDArray[np.intc],
        max_ngram_size: int,
        num_pred_tokens: int,
    ) -> npt.NDArray[np.intc]:
        """What followed where the longest end of these tokens was first; empty if it never was."""
        ids = np.asarray(input_ids, dtype=np.intc)
        for size in range(min(max_ngram_size, len(ids) - 1), 0, -1):
            windows = np.lib.stride_tricks.sliding_window_view(ids, size)[:-1]
            for begin in np.flatnonzero((windows == ids[-size:]).all(axis=1)):
                found: npt.NDArray[np.intc] = ids[begin + size : begin + size + num_pred_tokens]
                if len(found):
                    return found
        return np.array([], dtype=np.intc)
