"""What goes into a step and what comes out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ._ffi import OUTPUT_DRAFT, OUTPUT_LOGITS, OUTPUT_NONE, OUTPUT_SAMPLE

__all__ = ["Batch", "Sampled", "StepResult"]


@dataclass(slots=True)
class Batch:
    """Tokens of one step, for several sequences. Positions follow each sequence's last one."""

    tokens: list[int] = field(default_factory=list)
    seq_ids: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.tokens)

    def add(
        self,
        seq_id: int,
        tokens: Sequence[int],
        *,
        sample: bool = False,
        logits: bool = False,
        draft: Sequence[int] = (),
    ) -> None:
        """Append tokens of one sequence.

        Args:
            sample: sample the next token after the last of them.
            logits: keep the logits of all of them for `Context.logits`.
            draft: guesses of the tokens to be sampled. Those that come true are in the sequence
                after the step, and one more token is sampled for each; the others leave no trace.
        """
        self.tokens.extend(tokens)
        self.seq_ids.extend([seq_id] * len(tokens))
        self.outputs.extend([OUTPUT_LOGITS if logits else OUTPUT_NONE] * len(tokens))
        if sample and tokens:
            self.outputs[-1] = OUTPUT_SAMPLE
            self.tokens.extend(draft)
            self.seq_ids.extend([seq_id] * len(draft))
            self.outputs.extend([OUTPUT_DRAFT] * len(draft))


class Sampled(NamedTuple):
    """One sampled token."""

    row: int
    """Index into the batch."""
    seq_id: int
    token: int
    """-1 if this sequence's sampler failed (a grammar that nothing can follow)."""
    logprob: float = float("nan")
    """Natural logarithm, from the unmodified logits; NaN unless `n_probs` was asked."""
    top: tuple[tuple[int, float], ...] = ()
    """(token, logprob), most likely first; empty unless `n_probs` was asked."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one step sampled, in batch order, and the engine's time for it."""

    sampled: list[Sampled]
    decode_us: int
    sample_us: int
    lost: list[int] = field(default_factory=list)
    """Sequences that are empty now: rejected guesses could not be taken out of their state."""
