"""What the context can do, and what the operator allows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What the context can do."""

    n_slots: int
    """Most requests that run at once."""
    n_ctx: int
    """Cells over all sequences."""
    n_ctx_seq: int
    """Most cells of one sequence."""
    n_batch: int
    """Most tokens in a step."""
    n_mixed: int
    """Most tokens in a step while requests are decoding: bounds their pause."""
    unified: bool = True
    """One cache for all sequences, in which they can share cells."""
    n_ubatch: int = 0
    """Tokens that are computed at once; 0: as many as a step has."""
    n_seqs: int = 0
    """Sequences: one for each slot, the others for prefixes; 0: none beside the slots."""
    can_cut: bool = True
    """A sequence can serve any prefix of itself. False where a recurrent state or a window has
    moved on: then only the prefixes whose state was kept exist."""
    equal_chunks: bool = False
    """The memory computes sequences together only in chunks of equal length."""
    apart: bool = False
    """Single tokens of several sequences slow the prompt down that is computed in the same pass."""
    n_draft: int = 0
    """Most guessed tokens of a request in a step, which it can take back; 0: none."""

    @property
    def n_sequences(self) -> int:
        return max(self.n_seqs, self.n_slots)


@dataclass(frozen=True)
class Policy:
    """What the operator allows."""

    max_queue: int = 0
    """Most requests that wait; 0: any number."""
    max_per_key: int = 0
    """Most requests of one client that run at once; 0: any number."""
    n_gram: int = 4
    """Tokens that are compared to find out what may follow."""
    slot_similarity: float = 0.1
    """A request gets the idle slot whose last tokens are so much of its prompt or more, the most
    alike first; 0, or none: the one that has been idle for longest."""
    keep_prompts: bool = False
    """Keep the state before the last token of every prompt: slots are saved, and whoever restores
    one is likely to send its prompt again."""
    retry_after_s: int = 5
    """What a client is told that finds the queue full."""
