"""Which prompts of which requests the next batch of embeddings holds.

Plain Python, as the other scheduler. Requests wait in line until a slot is free. A batch takes
prompts from all that run, first from those that have had least.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .limits import Policy
from .messages import Embed, FinishReason, Output
from .refusal import refusal
from .turns import Turns
from .waiting import WaitingLine

MAX_FAILURES = 3


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


class EmbeddingScheduler:
    """Waiting and running requests, and slots."""

    def __init__(self, limits: BatchLimits, policy: Policy | None = None) -> None:
        self.limits = limits
        self.policy = policy or Policy()
        self.waiting: WaitingLine[Embed] = WaitingLine()
        self.running: dict[int, Embedding] = {}
        self.free_slots = list(range(limits.n_slots))
        self.turns = Turns()

    @property
    def is_idle(self) -> bool:
        return not self.waiting and not self.running

    # ------------------------------------------------------------ requests in and out

    def submit(self, request: Embed) -> Output | None:
        """Put a request in line. One that cannot run, or has no place there, is refused."""
        longest = max(map(len, request.prompts), default=0)
        if not all(request.prompts) or not request.prompts:
            return refusal(request, "a prompt is empty: give at least one token")
        if longest > self.limits.n_prompt:
            error = f"a prompt has {longest} tokens; at most {self.limits.n_prompt} can be embedded"
            return refusal(request, error)
        if 0 < self.policy.max_queue <= len(self.waiting):
            error = f"{len(self.waiting)} requests are waiting, the most that may; try again later"
            return refusal(request, error, 503, self.policy.retry_after_s)
        self.waiting.add(request)
        return None

    def cancel(self, id: int) -> Output | None:
        """Drop a request wherever it is. None if it is not known (any more)."""
        return self._end(id, "cancelled")

    def fail(self, id: int, error: str, status: int = 500, retry_after_s: int = 0) -> Output | None:
        """End a request that cannot go on."""
        output = self._end(id, "error")
        if output is not None:
            output.error, output.status, output.retry_after_s = error, status, retry_after_s
        return output

    def _end(self, id: int, finish: FinishReason) -> Output | None:
        if id in self.running:
            return self._release(self.running[id], finish)
        if self.waiting.remove(id) is not None:
            return Output(id, finish=finish)
        return None

    def _release(self, embedding: Embedding, finish: FinishReason) -> Output:
        del self.running[embedding.request.id]
        self.free_slots.append(embedding.slot)
        self.free_slots.sort()
        return Output(embedding.request.id, finish=finish, slot=embedding.slot)

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

    def _has_its_share(self, request: Embed) -> bool:
        most = self.policy.max_per_key
        same = sum(running.request.key == request.key for running in self.running.values())
        return bool(request.key) and 0 < most <= same

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
                output = self._release(embedding, "embedded")
                output.rows = embedding.rows
                outputs.append(output)
        return outputs

    def retry(self, batch: Iterable[Piece], error: str) -> list[Output]:
        """A batch failed: its prompts come again, for some requests the last time."""
        ended: list[Output | None] = []
        for id in {piece.owner.request.id: None for piece in batch}:
            self.running[id].n_failures += 1
            if self.running[id].n_failures >= MAX_FAILURES:
                ended.append(self.fail(id, error))
        return [output for output in ended if output is not None]
