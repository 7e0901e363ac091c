"""A model of the context's memory and of a language model, for tests of the scheduler.

Cells are counted one by one, states are lists of tokens. The next token is a function of all
tokens that a sequence really has, so a scheduler that loses, doubles or mixes up anything changes
what its requests say.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from pannier.server.limits import Limits
from pannier.server.operations import Cut, Drop, Forget, Fork, Load, MoveToDisk, Operation, Save
from pannier.server.plan import Chunk, Plan, SampledToken
from pannier.server.scheduler import Scheduler

EOG = 0
N_VOCAB = 500


def next_token(tokens: list[int], period: int = 0) -> int:
    """Greedy decoding of a model that looks at everything; with a period it mostly repeats what
    it said so many tokens ago."""
    token = hash(tuple(tokens))
    repeats = 0 < period <= len(tokens) and token % 8 and tokens[-period] != EOG
    return tokens[-period] if repeats else token % N_VOCAB


def answer(prompt: list[int], max_tokens: int, n_ctx_seq: int, period: int = 0) -> list[int]:
    """What a fresh sequence alone would say."""
    tokens: list[int] = []
    while len(tokens) < max_tokens and len(prompt) + len(tokens) <= n_ctx_seq:
        token = next_token([*prompt, *tokens], period)
        if token == EOG:
            break
        tokens.append(token)
    return tokens


class MemoryModel:
    """Sequences as lists of (cell, token)."""

    def __init__(self, limits: Limits, period: int = 0) -> None:
        self.limits = limits
        self.period = period
        self.sequences: dict[int, list[tuple[int, int]]] = {}
        self.stored: dict[int, list[int]] = {}
        self.broken: set[int] = set()
        """Keys of stored states that cannot be read."""
        self.n_drafted = self.n_accepted = 0
        self._cells = itertools.count()

    @property
    def n_cells(self) -> int:
        return len({cell for held in self.sequences.values() for cell, _ in held})

    def tokens(self, seq: int) -> list[int]:
        return [token for _, token in self.sequences.get(seq, ())]

    def perform(self, operations: list[Operation], scheduler: Scheduler) -> bool:
        """Carry out operations with llama.cpp's conditions. False if a stored state was broken:
        then the scheduler knows what is lost, and the step has to be planned again."""
        lost: set[int] = set()
        bad: set[int] = set()
        for operation in operations:
            self._perform(operation, lost, bad)
        if lost or bad:
            scheduler.lose(lost, bad)
        return not (lost or bad)

    def _perform(self, operation: Operation, lost: set[int], bad: set[int]) -> None:
        seqs = self.sequences
        if isinstance(operation, Fork):
            self._fork(operation, lost)
        elif isinstance(operation, Cut):
            assert self.limits.can_cut
            if operation.seq not in lost:
                seqs[operation.seq] = seqs[operation.seq][: operation.n]
        elif isinstance(operation, Drop):
            seqs.pop(operation.seq, None)
            lost.discard(operation.seq)
        elif isinstance(operation, Save):
            if operation.seq in lost:
                bad.add(operation.key)
                return
            assert tuple(self.tokens(operation.seq)) == operation.tokens
            self.stored[operation.key] = list(operation.tokens)
        elif isinstance(operation, Load):
            assert not seqs.get(operation.seq)
            if operation.key in self.broken or operation.key in bad:
                lost.add(operation.seq)
                bad.add(operation.key)
            else:
                self._add(operation.seq, self.stored[operation.key])
        elif isinstance(operation, Forget):
            self.stored.pop(operation.key, None)
        else:
            assert isinstance(operation, MoveToDisk)
            assert operation.key in self.stored or operation.key in bad

    def _fork(self, fork: Fork, lost: set[int]) -> None:
        assert self.limits.unified, "streams cannot share cells"
        assert not self.sequences.get(fork.target) and fork.target < self.limits.n_sequences
        if fork.source in lost:
            lost.add(fork.target)
            return
        held = self.sequences[fork.source]
        assert self.limits.can_cut or fork.n == len(held)
        assert 0 < fork.n <= len(held)
        self.sequences[fork.target] = held[: fork.n]

    def _add(self, seq: int, tokens: list[int]) -> None:
        held = self.sequences.setdefault(seq, [])
        held.extend((next(self._cells), token) for token in tokens)
        assert len(held) <= self.limits.n_ctx_seq
        assert not self.limits.unified or self.n_cells <= self.limits.n_ctx

    def compute(self, plan: Plan) -> list[SampledToken]:
        """Decode and sample greedily."""
        assert plan.n_tokens <= self.limits.n_batch
        sequences = [chunk.request.seq for chunk in plan.chunks]
        assert sequences == sorted(set(sequences))
        self._check_drafts(plan)
        self.n_drafted += sum(len(chunk.draft.tokens) for chunk in plan.chunks)
        for chunk in plan.chunks:
            assert len(self.tokens(chunk.request.seq)) == chunk.request.n_computed
            self._add(chunk.request.seq, [*chunk.tokens, *chunk.draft.tokens])
        return [sampled for chunk in plan.chunks for sampled in self._sample(chunk)]

    def _check_drafts(self, plan: Plan) -> None:
        """Whether the memory can take every guess of the step back."""
        lengths = [len(chunk.draft.tokens) for chunk in plan.chunks]
        assert max(lengths, default=0) <= self.limits.n_draft
        if any(lengths):
            assert self.limits.can_cut or all(len(chunk.tokens) == 1 for chunk in plan.chunks)
            assert self.limits.can_cut or not self.limits.equal_chunks or len(set(lengths)) == 1
            assert all(chunk.sample for chunk in plan.chunks if chunk.draft.tokens)

    def _sample(self, chunk: Chunk) -> Iterator[SampledToken]:
        """One token, and one more for each guess that came true; the others leave the memory."""
        if not chunk.sample:
            return
        held = self.sequences[chunk.request.seq]
        n = len(held) - len(chunk.draft.tokens)
        for guess in (*chunk.draft.tokens, None):
            token = next_token([token for _, token in held[:n]], self.period)
            yield SampledToken(chunk.request.id, token)
            if token != guess:
                break
            n += 1
            self.n_accepted += 1
        self.sequences[chunk.request.seq] = held[:n]

    def fail(self, plan: Plan) -> None:
        """A compute error: the sequences of the step are empty."""
        for chunk in plan.chunks:
            self.sequences.pop(chunk.request.seq, None)


def step(memory: MemoryModel, scheduler: Scheduler) -> tuple[Plan, list[Any]]:
    """One step. Returns the plan and the outputs."""
    plan = scheduler.schedule()
    if not memory.perform(plan.operations, scheduler):
        return plan, []
    return plan, scheduler.update(plan, memory.compute(plan))
