"""Which prompts of which requests the next batch of embeddings holds.

Plain Python, as the other scheduler. Requests wait in line until a slot is free. A batch takes
prompts from all that run, first from those that have had least.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .admission import MAX_FAILURES, Admission
from .limits import Policy
from .messages import Embed, Output
from .turns import Turns


@dataclass(slots=True)
class Embedding:
    """A request that has a slot, and what it has got so far."""

    request: Embed
    slot: int
    rows: list[Any] = field(default_factory=list)
    n_computed: int = 0
    """Tokens."""
    n_failures: int = 0
    """Batches with it that failed."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One prompt of a request."""

    owner: Embedding
    prompt: list[int]


@dataclass(frozen=True)
class BatchLimits:
    """What fits."""

    n_slots: int
    """Requests that run at once."""
    n_prompts: int
    """Most prompts in a batch."""
    n_tokens: int
    """Most tokens in a batch of several."""
    n_prompt: int
    """Most tokens of a prompt; one with more than `n_tokens` goes alone."""


class EmbeddingScheduler(Admission[Embed, Embedding]):
    """Waiting and running requests, and slots."""

    def __init__(self, limits: BatchLimits, policy: Policy | None = None) -> None:
        super().__init__(policy)
        self.limits = limits
        self.free_slots = list(range(limits.n_slots))
        self.turns = Turns()

    @property
    def n_idle_slots(self) -> int:
        return len(self.free_slots)

    def why_never(self, request: Embed) -> str:
        longest = max(map(len, request.prompts), default=0)
        if not all(request.prompts) or not request.prompts:
            return "a prompt is empty: give at least one token"
        if longest > self.limits.n_prompt:
            return f"a prompt has {longest} tokens; at most {self.limits.n_prompt} can be embedded"
        return ""

    def _release(self, embedding: Embedding) -> int:
        del self.running[embedding.request.id]
        self.free_slots.append(embedding.slot)
        self.free_slots.sort()
        return embedding.slot

    # ------------------------------------------------------------ a batch

    def admit(self) -> list[int]:
        """Start requests while slots are free. Returns their ids."""
        started = []
        for request in self.waiting:
            if not self.free_slots:
                break
            if not self._has_its_share(request):
                self.waiting.remove(request.id)
                self.running[request.id] = Embedding(request, self.free_slots.pop(0))
                started.append(request.id)
        return started

    def schedule(self) -> list[Piece]:
        """The next batch; nothing if there is nothing to compute."""
        suspect = next((e for e in self.running.values() if e.n_failures == MAX_FAILURES - 1), None)
        if suspect is not None:  # it fails alone, or not at all
            return [self._piece(suspect, 0)]
        batch: list[Piece] = []
        n_left = self.limits.n_tokens
        taken = dict.fromkeys(self._whose_turn(), 0)
        while taken and len(batch) < self.limits.n_prompts:
            for id, n in tuple(taken.items()):
                embedding = self.running[id]
                if len(embedding.rows) + n == len(embedding.request.prompts):
                    del taken[id]
                    continue
                piece = self._piece(embedding, n)
                is_full = len(batch) == self.limits.n_prompts
                if is_full or (batch and len(piece.prompt) > n_left):
                    del taken[id]
                    continue
                batch.append(piece)
                n_left -= len(piece.prompt)
                taken[id] += 1
        return batch

    def _whose_turn(self) -> list[int]:
        """Requests that can share a batch, the least served first."""
        ids = sorted(self.running, key=self._served)
        if not ids:
            return []
        turn = self.turns.next([self.running[id].request.adapters for id in ids])
        return [id for id in ids if self.running[id].request.adapters == turn]

    def _served(self, id: int) -> tuple[int, int]:
        return self.running[id].n_computed, id

    def _piece(self, embedding: Embedding, n: int) -> Piece:
        """The n-th prompt of those that have no rows yet."""
        return Piece(embedding, embedding.request.prompts[len(embedding.rows) + n])

    def update(self, batch: Iterable[Piece], rows: Sequence[Any]) -> list[Output]:
        """Note what a batch gave; one Output for each request that is done."""
        outputs = []
        for piece, row in zip(batch, rows, strict=True):
            embedding = piece.owner
            embedding.rows.append(row)
            embedding.n_computed += len(piece.prompt)
            embedding.n_failures = 0
            if len(embedding.rows) == len(embedding.request.prompts):
                id, slot = embedding.request.id, self._release(embedding)
                outputs.append(Output(id, finish="embedded", slot=slot, rows=embedding.rows))
        return outputs

    def retry(self, batch: Iterable[Piece], error: str) -> list[Output]:
        """A batch failed: its prompts come again, for some requests the last time."""
        ended: list[Output | None] = []
        for id in {piece.owner.request.id: None for piece in batch}:
            self.running[id].n_failures += 1
            if self.running[id].n_failures >= MAX_FAILURES:
                ended.append(self.fail(id, error))
        return [output for output in ended if output is not None]
