"""Which tokens of which requests the next step computes.

Plain Python: no HTTP, no tokenizer, no native code, no clock. Requests wait in line; one starts
when a slot is free and its worst case fits beside that of the others. It starts from the longest
prefix that any sequence holds; if a running request is about to compute a longer one, it waits
for that. A step holds one token of every decoding request first, then prompt chunks, oldest
first, in what is left of the step's token budget.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from . import reasons
from .cells import CellTree, n_common
from .drafts import Draft, Drafts
from .limits import Limits, Policy
from .messages import FinishReason, Output, Submit, TokenLogprob
from .operations import Cut, Drop, Fork, Load, Operation
from .prefix_cache import CacheSizes, Kept, PrefixCache, Start
from .running import Running
from .waiting import WaitingLine

GROW_CELLS = 256
"""A request without `max_tokens` that has used up its cells asks for so many more."""
MIN_SHARED = 32
"""A request waits for another's prefix if that saves it so many tokens."""
MAX_FAILURES = 3
N_RECENT = 32


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tokens of one request in a step; `sample` if the last of them yields a token."""

    request: Running
    tokens: list[int]
    sample: bool
    draft: Draft = field(default_factory=Draft)
    """Guesses of the tokens to be sampled."""

    @property
    def n_tokens(self) -> int:
        return len(self.tokens) + len(self.draft.tokens)


@dataclass(slots=True)
class Plan:
    """One step: these operations, then these requests start, then these chunks are computed."""

    operations: list[Operation] = field(default_factory=list)
    started: list[Running] = field(default_factory=list)
    chunks: list[Chunk] = field(default_factory=list)

    @property
    def n_tokens(self) -> int:
        return sum(chunk.n_tokens for chunk in self.chunks)

    def leave_out(self, running: Running) -> None:
        """Compute nothing of this request."""
        self.chunks = [chunk for chunk in self.chunks if chunk.request is not running]


@dataclass(frozen=True, slots=True)
class SampledToken:
    """What the engine answered for one chunk that asked to be sampled, or for one of its guesses
    that came true."""

    id: int
    token: int
    """-1 if the sampler failed."""
    logprob: TokenLogprob | None = None


class Scheduler:
    """Waiting and running requests, slots, cells, kept prefixes."""

    def __init__(
        self,
        limits: Limits,
        eog: Iterable[int],
        policy: Policy | None = None,
        sizes: CacheSizes | None = None,
    ) -> None:
        self.limits = limits
        self.policy = policy or Policy()
        self.eog = frozenset(eog)
        self.waiting = WaitingLine()
        self.running: dict[int, Running] = {}
        self.free_slots = list(range(limits.n_slots))
        self.tree = CellTree()
        self.cache = PrefixCache(self.tree, sizes or CacheSizes(), limits.can_cut, limits.unified)
        self.drafts = Drafts(limits, self.policy.n_gram, self.eog)
        self.n_mixed = limits.n_mixed
        """Most tokens in a step with decoding requests; whoever measures steps may change it."""
        self.released: list[int] = []
        """Sequences whose sampler is not needed any more."""
        self._recent: deque[list[int]] = deque(maxlen=N_RECENT)

    @property
    def is_idle(self) -> bool:
        return not self.waiting and not self.running

    # ------------------------------------------------------------ requests in and out

    def submit(self, request: Submit) -> Output | None:
        """Put a request in line. One that cannot run, or has no place there, is refused."""
        refused = self._cannot_ever_run(request)
        if refused:
            return refusal(request, refused)
        if 0 < self.policy.max_queue <= len(self.waiting):
            error = f"{len(self.waiting)} requests are waiting, the most that may; try again later"
            return refusal(request, error, 503, self.policy.retry_after_s)
        self.waiting.add(request)
        return None

    def _cannot_ever_run(self, request: Submit) -> str:
        n_prompt = len(request.prompt)
        n_most = self.limits.n_ctx_seq
        if not n_prompt:
            return "the prompt is empty: give at least one token"
        if n_prompt + 1 > n_most:
            return (
                f"the prompt has {n_prompt} tokens and the context of a request holds "
                f"{n_most}: shorten it or start the server with a larger -c"
            )
        if request.overflow == "error" and n_prompt + request.max_tokens > n_most:
            return (
                f"the prompt has {n_prompt} tokens and {request.max_tokens} are to follow, "
                f"{n_prompt + request.max_tokens} in all; the context of a request holds {n_most}: "
                f"at most {n_most - n_prompt} can follow"
            )
        return ""

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
            slot = self._release(self.running[id])
            return Output(id, finish=finish, slot=slot)
        if self.waiting.remove(id) is not None:
            return Output(id, finish=finish)
        return None

    def _release(self, running: Running) -> int:
        del self.running[running.id]
        self.free_slots.append(running.slot)
        self.free_slots.sort()
        self.released.append(running.seq)
        self._recent.append(running.tokens)
        if running.seq in self.tree:
            self.cache.keep(running.seq, running.id)
        return running.slot

    def take_released(self) -> list[int]:
        """Sequences released since the last call."""
        released, self.released = self.released, []
        return released

    def take_operations(self) -> list[Operation]:
        """What the context's memory has to do since the last call, in order."""
        operations, self.cache.operations = self.cache.operations, []
        return operations

    # ------------------------------------------------------------ schedule

    def schedule(self) -> Plan:
        """The next step. A plan without chunks means there is nothing to compute."""
        self._keep_points()
        plan = Plan(started=self._admit() if self._resume() else [])
        plan.operations = self.take_operations()
        self._fill(plan)
        plan.chunks.sort(key=lambda chunk: chunk.request.seq)
        return plan

    def _keep_points(self) -> None:
        """Copy the states that have reached a length from which others will go on."""
        for running in self.running.values():
            if running.n_computed in running.points:
                running.points.remove(running.n_computed)
                target = self._free_sequence({running.seq})
                if target is not None:
                    self._fork(running.seq, target, running.n_computed)
                    self.cache.keep(target, running.id, n_uses=1)

    def _fill(self, plan: Plan) -> None:
        active = [running for running in self.running.values() if not running.is_paused]
        suspect = next((r for r in active if r.n_failures == MAX_FAILURES - 1), None)
        if suspect is not None:  # it fails alone, or not at all
            plan.chunks.append(self._chunk(suspect, self.limits.n_batch))
            return
        decoding = [running for running in active if running.is_decoding]
        prefilling = [running for running in active if not running.is_decoding]
        budget = self.n_mixed if decoding else self._lone_budget()
        drafts = self.drafts.make(decoding, len(prefilling), budget)
        for running, draft in zip(decoding, drafts, strict=True):
            plan.chunks.append(replace(self._chunk(running, 1), draft=draft))
        self._prefill(plan, prefilling, max(1, budget - plan.n_tokens))

    def _lone_budget(self) -> int:
        """Tokens of a step of prompts alone. Where states exist only at the ends of steps, short
        ones let others join in time."""
        if self.limits.can_cut or not self.limits.n_ubatch:
            return self.limits.n_batch
        return self.limits.n_ubatch

    def _prefill(self, plan: Plan, prefilling: list[Running], budget: int) -> None:
        """Chunks of prompts, oldest first."""
        first = 0
        for running in prefilling:
            if budget <= 0:
                break
            chunk = self._chunk(running, budget)
            if first and self.limits.equal_chunks:
                chunk = self._chunk(running, min(first, budget))
                if len(chunk.tokens) != first:
                    continue  # another length would be a pass of its own over the weights
            first = first or len(chunk.tokens)
            budget -= len(chunk.tokens)
            plan.chunks.append(chunk)

    def _chunk(self, running: Running, budget: int) -> Chunk:
        end = min(running.n_computed + budget, running.next_stop())
        tokens = running.tokens[running.n_computed : end]
        return Chunk(running, tokens, sample=end == len(running.tokens))

    # ------------------------------------------------------------ admission

    def _admit(self) -> list[Running]:
        started: list[Running] = []
        for request in self.waiting:
            if not self.free_slots:
                break
            if self._has_its_share(request):
                continue
            tokens = [*request.prompt, *request.generated]
            start = self.cache.find(tokens) if request.cache_prompt else Start()
            if request.cache_prompt and self._waits_for_prefix(tokens, start):
                continue
            running = self._start(request, tokens, start)
            if running is None:
                break  # those behind it may not overtake: it would never fit
            self.waiting.remove(request.id)
            self.running[request.id] = running
            started.append(running)
        return started

    def _has_its_share(self, request: Submit) -> bool:
        most = self.policy.max_per_key
        same = sum(running.request.key == request.key for running in self.running.values())
        return bool(request.key) and 0 < most <= same

    def _waits_for_prefix(self, tokens: list[int], start: Start) -> bool:
        """Whether a running request is about to have more of this prompt than anybody now."""
        if not self.limits.unified:
            return False
        for running in self.running.values():
            if running.is_paused:
                continue
            n = min(n_common(running.tokens, tokens), len(tokens) - 1)
            worth_it = n - start.n >= MIN_SHARED or n in running.awaited
            if worth_it and running.n_computed < n:
                running.awaited.add(n)
                if not self.limits.can_cut:
                    running.add_point(n)
                return True
        return False

    def _start(self, request: Submit, tokens: list[int], start: Start) -> Running | None:
        """Give a request a sequence with all that is there of its prompt; None: no room."""
        n_reserved = self._reservation(request, len(tokens))
        reason, drift_at = self._explain(tokens, start)
        placed = self._place(start, n_reserved)
        if placed is None:
            return None
        seq, n_reused = placed
        running = Running(
            request,
            self.free_slots.pop(0),
            seq,
            tokens,
            n_reserved,
            n_computed=n_reused,
            n_reused=n_reused,
            n_generated=len(request.generated),
            reason=reason,
            drift_at=drift_at,
        )
        self._set_points(running)
        return running

    def _reservation(self, request: Submit, n_tokens: int) -> int:
        """Cells to start with: the whole request if it says how long it is, else a fair share."""
        if request.max_tokens >= 0:
            wanted = len(request.prompt) + request.max_tokens
        else:
            wanted = self.limits.n_ctx // self.limits.n_slots
        return min(max(n_tokens + 1, wanted), self.limits.n_ctx_seq)

    def _place(self, start: Start, n_reserved: int) -> tuple[int, int] | None:
        """A sequence and how many of the tokens it holds; None if there is no room for it."""
        if start.source >= 0:
            seq = self._share(start, n_reserved)
            if seq is None and start.kept is not None:
                seq = self._take_over(start.kept, start.n, n_reserved)
            if seq is not None:
                return seq, start.n
        if not self._make_room(n_reserved, ()):
            return None
        seq = self._free_sequence(())
        if seq is None:
            return None
        return seq, self._load(start, seq, n_reserved)

    def _share(self, start: Start, n_reserved: int) -> int | None:
        """A fork of the sequence that has the prefix."""
        if not self.limits.unified or not self._make_room(n_reserved - start.n, {start.source}):
            return None
        target = self._free_sequence({start.source})
        if target is not None:
            self._fork(start.source, target, start.n)
            if start.kept is not None:
                self.cache.use(start.kept)
        return target

    def _take_over(self, kept: Kept, n: int, n_reserved: int) -> int | None:
        """Go on in the sequence that has the prefix: there is no room beside it."""
        if not self._fits(n_reserved, ()):
            return None
        seq = self.cache.take(kept)
        if n < self.tree.length(seq):
            self._cut(seq, n)
        self._make_room(n_reserved - n, {seq})
        return seq

    def _load(self, start: Start, seq: int, n_reserved: int) -> int:
        """Fill an empty sequence from the store, if the state is still there (making room may have
        cost it) and all of it fits. Returns how many tokens it has then."""
        kept = start.kept
        if kept is None or not start.is_stored or not kept.stored:
            return 0
        n = len(kept.tokens)
        if (n > n_reserved and not self._make_room(n, ())) or not kept.stored:
            return 0
        self.cache.use(kept)
        self.cache.operations.append(Load(kept.key, seq))
        self.tree.extend(seq, kept.tokens)
        if start.n < n:
            self._cut(seq, start.n)
        return start.n

    def _free_sequence(self, protected: Iterable[int]) -> int | None:
        """An empty sequence, made empty if need be."""
        busy = {running.seq for running in self.running.values()}
        for seq in range(self.limits.n_sequences):
            if seq not in busy and seq not in self.tree:
                return seq
        victim = self.cache.victim(set(protected))
        return self.cache.evict(victim) if victim is not None else None

    def _fork(self, source: int, target: int, n: int) -> None:
        self.tree.fork(source, target, n)
        self.cache.operations.append(Fork(source, target, n))

    def _cut(self, seq: int, n: int) -> None:
        self.tree.cut(seq, n)
        self.cache.operations.append(Cut(seq, n))

    def _set_points(self, running: Running) -> None:
        """Where later requests will want to start, if the state must be kept for that."""
        if self.limits.can_cut or not self.limits.unified or self.limits.n_sequences == 1:
            return
        inside = [n for n in running.request.boundaries if 0 < n < running.n_prompt]
        for n in {*inside[:1], *inside[-2:], self._branch_point(running)}:
            running.add_point(n)

    def _branch_point(self, running: Running) -> int:
        """Where this prompt leaves the others of late: the next one may leave it there too."""
        tokens = running.tokens
        n = max((n_common(recent, tokens) for recent in self._recent), default=0)
        n = min(n, len(tokens) - 1)
        return n if n - running.n_computed >= MIN_SHARED else 0

    def _explain(self, tokens: list[int], start: Start) -> tuple[str, int]:
        """Why the rest of the prompt has to be computed."""
        n_held, _ = self.tree.match(tokens)
        n_held = min(max(n_held, start.n), len(tokens) - 1)
        n_gone = self.cache.shared_with_evicted(tokens)
        extends = start.kept is not None and start.n == len(start.kept.tokens)
        return reasons.explain(len(tokens), start.n, n_held, n_gone, extends)

    # ------------------------------------------------------------ cells

    def _fits(self, n_new: int, protected: Iterable[int]) -> bool:
        """Whether so many cells fit beside what runs and what is protected."""
        if not self.limits.unified:
            return n_new <= self.limits.n_ctx_seq
        busy = {running.seq for running in self.running.values()}
        held = self.tree.n_held(busy.union(protected))
        return held + self._n_growth() + n_new <= self.limits.n_ctx

    def _make_room(self, n_new: int, protected: Iterable[int]) -> bool:
        """Evict kept prefixes until so many more cells can be promised. False: they never will."""
        protected = set(protected)
        if not self._fits(n_new, protected):
            return False
        while self.limits.unified and self.n_promised + n_new > self.limits.n_ctx:
            victim = self.cache.victim(protected)
            if victim is None:
                return False
            self.cache.evict(victim)
        return True

    @property
    def n_promised(self) -> int:
        """Cells in use and those that running requests may still take."""
        return self.tree.n_cells + self._n_growth()

    def _n_growth(self) -> int:
        return sum(running.n_growth for running in self.running.values())

    def _grow(self, running: Running) -> bool:
        """Promise a request some more cells; False if there is not even one."""
        most = self.limits.n_ctx_seq - running.n_reserved
        for n in (min(GROW_CELLS, most), 1):
            if 0 < n <= most and self._make_room(n, ()):
                running.n_reserved += n
                return True
        return False

    # ------------------------------------------------------------ update

    def update(self, plan: Plan, sampled: Iterable[SampledToken]) -> list[Output]:
        """Note what a step computed; one Output for each request that has news."""
        results: dict[int, list[SampledToken]] = {}
        for result in sampled:
            results.setdefault(result.id, []).append(result)
        for chunk in plan.chunks:
            if chunk.request.id in self.running:
                self._note_computed(chunk, len(results.get(chunk.request.id, ())))
        return [
            self._accept(self.running[id], found)
            for id, found in results.items()
            if id in self.running
        ]

    def _note_computed(self, chunk: Chunk, n_sampled: int) -> None:
        running = chunk.request
        accepted = chunk.draft.tokens[: max(0, n_sampled - 1)]
        self.tree.extend(running.seq, chunk.tokens + accepted)
        running.n_computed += len(chunk.tokens) + len(accepted)
        running.n_failures = 0 if chunk.sample else running.n_failures
        if chunk.draft.n_guessed:
            running.note_draft(chunk.draft.n_guessed, len(accepted))

    def _accept(self, running: Running, results: Iterable[SampledToken]) -> Output:
        output = Output(running.id, slot=running.slot)
        for result in results:
            if result.token < 0:
                error = "no token fits the grammar of this request"
                return self.fail(running.id, error, status=400) or output
            running.n_generated += 1
            running.tokens.append(result.token)
            if result.token in self.eog:
                output.finish = "eos"
            elif running.request.max_tokens == 0:  # the prompt alone was wanted
                output.finish = "length"
            else:
                output.tokens.append(result.token)
                if result.logprob is not None:
                    output.logprobs.append(result.logprob)
        if not output.finish and self._is_full(running):
            output.finish = "length"
        if output.finish:
            self._release(running)
        return output

    def _is_full(self, running: Running) -> bool:
        if 0 <= running.request.max_tokens <= running.n_generated:
            return True
        if running.n_computed < running.n_reserved or self._grow(running):
            return False
        return not self._shift(running)

    # ------------------------------------------------------------ starting over

    def _shift(self, running: Running) -> bool:
        """Forget the older half of what may be forgotten, and compute the rest again: exact for
        every kind of model, at the price of at most one token for each one gained."""
        n_keep = running.request.n_keep if running.request.n_keep >= 0 else running.n_prompt
        n_gone = (len(running.tokens) - n_keep) // 2
        if running.request.overflow != "shift" or n_gone < 1:
            return False
        running.tokens = running.tokens[:n_keep] + running.tokens[n_keep + n_gone :]
        running.shifted = True
        running.lookup = None
        self._start_over(running)
        return True

    def _start_over(self, running: Running) -> None:
        """Have a running request's tokens computed again."""
        if running.seq in self.tree:
            self.tree.drop(running.seq)
            self.cache.operations.append(Drop(running.seq))
        running.points.clear()
        running.n_computed = 0
        running.is_paused = True

    def _resume(self) -> bool:
        """Let requests that start over go on, from the best prefix there is. False while there is
        no room for one of them: nobody overtakes it."""
        for running in self.running.values():
            if running.is_paused:
                start = self.cache.find(running.tokens)
                if not self._waits_for_prefix(running.tokens, start):
                    n = self._refill(running, start)
                    if n is None:
                        return False
                    running.n_computed, running.is_paused = n, False
        return True

    def _refill(self, running: Running, start: Start) -> int | None:
        """Fill a running request's empty sequence with what there is. None: no room."""
        shares = self.limits.unified and start.source >= 0
        if shares and self._make_room(running.n_reserved - start.n, {start.source}):
            self._fork(start.source, running.seq, start.n)
            return start.n
        if not self._make_room(running.n_reserved, ()):
            return None
        return self._load(start, running.seq, running.n_reserved)

    def lose(self, sequences: Iterable[int], keys: Iterable[int]) -> None:
        """These sequences turned out empty, because these stored states cannot be read: whoever
        was to go on from them computes its tokens."""
        for key in keys:
            if key in self.cache.kept:
                self.cache.forget(self.cache.kept[key])
        lost = set(sequences)
        for seq in lost:
            self.cache.lose(seq)
            self.tree.drop(seq)
        for running in self.running.values():
            if running.seq in lost:
                self._start_over(running)

    def lose_drafted(self, sequences: Iterable[int]) -> None:
        """Wrong guesses could not be taken out of these sequences, which are empty now: whoever
        runs there computes its tokens again, and guesses no more."""
        lost = set(sequences)
        for running in self.running.values():
            if running.seq in lost and running.lookup is not None:
                running.lookup.stop()
        self.lose(lost, ())

    def retry(self, plan: Plan, error: str) -> list[Output]:
        """A step failed and emptied its sequences: its requests start over, some of them for the
        last time. Nobody else notices."""
        ended: list[Output | None] = []
        for running in [chunk.request for chunk in plan.chunks]:
            self.tree.drop(running.seq)
        for running in [chunk.request for chunk in plan.chunks]:
            running.n_failures += 1
            if running.n_failures >= MAX_FAILURES:
                ended.append(self.fail(running.id, error))
            else:
                self._start_over(running)
        return [output for output in ended if output is not None]

    def give_way(self, plan: Plan, error: str) -> list[Output]:
        """A step found no cells and changed nothing: kept prefixes go, or else the youngest
        request of the step."""
        victim = self.cache.victim()
        if victim is not None:
            while victim is not None:
                self.cache.evict(victim)
                victim = self.cache.victim()
            return []
        youngest = max(plan.chunks, key=lambda chunk: chunk.request.id).request
        output = self.fail(youngest.id, error, status=503)
        return [output] if output is not None else []


def refusal(request: Submit, error: str, status: int = 400, retry_after_s: int = 0) -> Output:
    """The answer to a request that does not get in line."""
    return Output(
        request.id, finish="error", error=error, status=status, retry_after_s=retry_after_s
    )
