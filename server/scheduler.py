"""Which tokens of which requests the next step computes.

Plain Python: no HTTP, no tokenizer, no native code, no clock. Requests wait in
order; one starts when a sequence is free and its cells can be reserved. A step
holds one token of every decoding request first, then prompt chunks, oldest
first, in what is left of the step's token budget.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from .cells import CellBudget
from .messages import FinishReason, Output, Submit, TokenLogprob

GROW_CELLS = 256
"""A request without `max_tokens` that has used up its cells asks for so many more."""


@dataclass(frozen=True)
class Limits:
    """What the context can do."""

    n_slots: int
    n_ctx: int
    """Cells over all sequences."""
    n_ctx_seq: int
    """Most cells of one sequence."""
    n_batch: int
    """Most tokens in a step."""
    n_mixed: int
    """Most tokens in a step while requests are decoding: bounds their pause."""
    unified: bool = True


@dataclass(slots=True)
class Running:
    """A request that has a sequence."""

    request: Submit
    slot: int
    n_computed: int = 0
    """Prompt tokens that the engine has."""
    n_generated: int = 0
    last_token: int = -1

    @property
    def id(self) -> int:
        return self.request.id

    @property
    def n_prompt(self) -> int:
        return len(self.request.prompt)

    @property
    def is_prefilling(self) -> bool:
        return self.n_computed < self.n_prompt

    @property
    def n_cells(self) -> int:
        """Cells held: the last sampled token gets its cell in the next step."""
        return self.n_computed + max(0, self.n_generated - 1)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tokens of one request in a step; `sample` if the last of them yields a token."""

    request: Running
    tokens: list[int]
    sample: bool


@dataclass(slots=True)
class Plan:
    """One step: first these requests start, then these chunks are computed."""

    started: list[Running] = field(default_factory=list)
    chunks: list[Chunk] = field(default_factory=list)

    @property
    def n_tokens(self) -> int:
        return sum(len(chunk.tokens) for chunk in self.chunks)


@dataclass(frozen=True, slots=True)
class SampledToken:
    """What the engine answered for one chunk that asked to be sampled."""

    id: int
    token: int
    """-1 if the sampler failed."""
    logprob: TokenLogprob | None = None


class Scheduler:
    """Waiting and running requests, free slots, reserved cells."""

    def __init__(self, limits: Limits, eog: Iterable[int]) -> None:
        self.limits = limits
        self.eog = frozenset(eog)
        self.waiting: deque[Submit] = deque()
        self.running: dict[int, Running] = {}
        self.free_slots = list(range(limits.n_slots))
        self.cells = CellBudget(limits.n_ctx, limits.n_ctx_seq, limits.unified)
        self.released: list[int] = []
        """Slots whose sequence must be cleared before the next step."""

    @property
    def is_idle(self) -> bool:
        return not self.waiting and not self.running

    # ------------------------------------------------------------ requests in and out

    def submit(self, request: Submit) -> Output | None:
        """Queue a request. One that could never run is refused with an Output."""
        n_needed = len(request.prompt) + 1
        if not request.prompt:
            return refusal(request, "the prompt is empty: give at least one token")
        if not self.cells.can_ever_hold(n_needed):
            return refusal(
                request,
                f"the prompt has {len(request.prompt)} tokens and the context of a request holds "
                f"{self.limits.n_ctx_seq}: shorten it or start the server with a larger -c",
            )
        self.waiting.append(request)
        return None

    def cancel(self, id: int) -> Output | None:
        """Drop a request wherever it is. None if it is not known (any more)."""
        return self._end(id, "cancelled")

    def fail(self, id: int, error: str, status: int = 500) -> Output | None:
        """End a request that the engine could not go on with."""
        output = self._end(id, "error")
        if output is not None:
            output.error, output.status = error, status
        return output

    def _end(self, id: int, finish: FinishReason) -> Output | None:
        if id in self.running:
            slot = self._release(self.running[id])
            return Output(id, finish=finish, slot=slot)
        for request in self.waiting:
            if request.id == id:
                self.waiting.remove(request)
                return Output(id, finish=finish)
        return None

    def _release(self, running: Running) -> int:
        del self.running[running.id]
        self.cells.release(running.id)
        self.free_slots.append(running.slot)
        self.free_slots.sort()  # low slots first: active sequences stay adjacent
        self.released.append(running.slot)
        return running.slot

    def take_released(self) -> list[int]:
        """Slots released since the last call."""
        released, self.released = self.released, []
        return released

    # ------------------------------------------------------------ schedule

    def schedule(self) -> Plan:
        """The next step. A plan without chunks means there is nothing to do."""
        plan = Plan(started=list(self._admit()))
        decoding = [r for r in self._in_slot_order() if not r.is_prefilling]
        for running in decoding:
            plan.chunks.append(Chunk(running, [running.last_token], sample=True))
        budget = self.limits.n_mixed if decoding else self.limits.n_batch
        plan.chunks.extend(self._prefill(max(1, budget - len(decoding))))
        plan.chunks.sort(key=lambda chunk: chunk.request.slot)
        return plan

    def _in_slot_order(self) -> list[Running]:
        return sorted(self.running.values(), key=lambda running: running.slot)

    def _admit(self) -> Iterator[Running]:
        while self.waiting and self.free_slots:
            request = self.waiting[0]
            n_cells = self._first_reservation(request)
            if not self.cells.can_reserve(n_cells):
                return
            self.waiting.popleft()
            running = Running(request, self.free_slots.pop(0))
            self.running[request.id] = running
            self.cells.reserve(request.id, n_cells)
            yield running

    def _first_reservation(self, request: Submit) -> int:
        """Cells to start with: the whole request if it says how long it is, else a fair share."""
        least = len(request.prompt) + 1
        if request.max_tokens >= 0:
            wanted = len(request.prompt) + request.max_tokens
        else:
            wanted = self.limits.n_ctx // self.limits.n_slots
        return min(max(least, wanted), self.limits.n_ctx_seq)

    def _prefill(self, budget: int) -> Iterator[Chunk]:
        prefilling = (r for r in self.running.values() if r.is_prefilling)  # in order of arrival
        for running in prefilling:
            if budget <= 0:
                return
            start = running.n_computed
            tokens = running.request.prompt[start : start + budget]
            budget -= len(tokens)
            yield Chunk(running, tokens, sample=start + len(tokens) == running.n_prompt)

    # ------------------------------------------------------------ update

    def update(self, plan: Plan, sampled: Iterable[SampledToken]) -> list[Output]:
        """Note what a step computed; one Output for each request that has news."""
        for chunk in plan.chunks:
            if chunk.request.is_prefilling:
                chunk.request.n_computed += len(chunk.tokens)
        return [
            self._accept(self.running[result.id], result)
            for result in sampled
            if result.id in self.running
        ]

    def _accept(self, running: Running, result: SampledToken) -> Output:
        if result.token < 0:
            error = "no token fits the grammar of this request"
            return self.fail(running.id, error, status=400) or Output(running.id)
        output = Output(running.id, slot=running.slot)
        running.n_generated += 1
        running.last_token = result.token
        if result.token in self.eog:
            output.finish = "eos"
        elif running.request.max_tokens == 0:  # the prompt alone was wanted
            output.finish = "length"
        else:
            output.tokens.append(result.token)
            if result.logprob is not None:
                output.logprobs.append(result.logprob)
            if self._is_full(running):
                output.finish = "length"
        if output.finish:
            self._release(running)
        return output

    def _is_full(self, running: Running) -> bool:
        max_tokens = running.request.max_tokens
        if 0 <= max_tokens <= running.n_generated:
            return True
        if running.n_cells < self.cells.reserved[running.id]:
            return False
        return not self.cells.grow(running.id, GROW_CELLS)


def refusal(request: Submit, error: str) -> Output:
    """The answer to a request that can never run."""
    return Output(request.id, finish="error", error=error, status=400)
