"""Python functions that take part in sampling."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.intc]
Logits = npt.NDArray[np.single]
LogitsProcessor = Callable[[Tokens, Logits], Logits]
"""From the tokens so far and the logits of the next one, [n_vocab], to other logits."""
StoppingCriteria = Callable[[Tokens, Logits], bool]
"""Whether to stop before the next token, by the tokens so far and its logits."""


class LogitsProcessorList(list[LogitsProcessor]):
    """One after the other."""

    def __call__(self, input_ids: Tokens, scores: Logits) -> Logits:
        for processor in self:
            scores = processor(input_ids, scores)
        return scores


class StoppingCriteriaList(list[StoppingCriteria]):
    """Any of them; each is asked."""

    def __call__(self, input_ids: Tokens, logits: Logits) -> bool:
        answers = [criterion(input_ids, logits) for criterion in self]
        return any(answers)


class MinTokensLogitsProcessor:
    """No end before so many tokens."""

    def __init__(self, min_tokens: int, token_eos: int) -> None:
        self.min_tokens = min_tokens
        self.token_eos = token_eos
        self.prompt_tokens: int | None = None

    def __call__(self, input_ids: Tokens, scores: Logits) -> Logits:
        if self.prompt_tokens is None:
            self.prompt_tokens = len(input_ids)
        if len(input_ids) - self.prompt_tokens < self.min_tokens:
            scores[self.token_eos] = -np.inf
        return scores
