"""Which tokens of which requests the next step computes.

Plain Python: no HTTP, no tokenizer, no native code, no clock. Requests wait in line; one starts
when a slot is free and its worst case fits beside that of the others. It starts from the longest
prefix that any sequence holds; if a running request is about to compute a longer one, it waits
for that. A step holds one token of every decoding request first, then prompt chunks, oldest
first, in what is left of the step's token budget.
"""

from __future__ import annotations

from collections.abc import Iterable

from . import reasons
from .admission import MAX_FAILURES, Admission
from .branches import Branches
from .cells import n_common
from .drafts import NO_DRAFT, Draft, Drafts
from .limits import Limits, Policy
from .messages import Adapters, Output, Submit
from .operations import Drop, Operation
from .plan import Chunk, Plan, SampledToken
from .prefix_cache import CacheSizes, Start
from .refusal import why_never
from .running import Running
from .sequence_pool import SequencePool
from .slots import Slots
from .turns import Turns

MIN_SHARED = 32
"""A request waits for another's prefix if that saves it so many tokens."""


class Scheduler(Admission[Submit, Running]):
    """Waiting and running requests, slots, cells, kept prefixes."""

    def __init__(
        self,
        limits: Limits,
        eog: Iterable[int],
        policy: Policy | None = None,
        sizes: CacheSizes | None = None,
    ) -> None:
        super().__init__(policy)
        self.limits = limits
        self.eog = frozenset(eog)
        self.slots = Slots(limits.n_slots, self.policy.slot_similarity)
        self.pool = SequencePool(limits, sizes or CacheSizes(), self.running)
        self.tree, self.cache = self.pool.tree, self.pool.cache
        self.drafts = Drafts(limits, self.policy.n_gram, self.eog)
        self.n_mixed = limits.n_mixed
        """Most tokens in a step with decoding requests; whoever measures steps may change it."""
        self.released: list[int] = []
        """Sequences whose sampler is not needed any more."""
        self.branches = Branches(limits, MIN_SHARED)
        self.turns = Turns()
        self._prompts_next = False

    @property
    def n_promised(self) -> int:
        """Cells in use and those that running requests may still take."""
        return self.pool.n_promised

    # ------------------------------------------------------------ requests in and out

    @property
    def n_idle_slots(self) -> int:
        return len(self.slots.idle)

    def why_never(self, request: Submit) -> str:
        return why_never(request, self.limits)

    def _release(self, running: Running) -> int:
        del self.running[running.id]
        self.slots.free(running.slot, running.id, running.tokens[: running.n_computed])
        self.released.append(running.seq)
        self.branches.note(running)
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
                target = self.pool.free_sequence({running.seq})
                if target is not None:
                    self.pool.fork(running.seq, target, running.n_computed)
                    self.cache.keep(target, running.id, n_uses=1)

    def _fill(self, plan: Plan) -> None:
        active = [running for running in self.running.values() if not running.is_paused]
        suspect = next((r for r in active if r.n_failures == MAX_FAILURES - 1), None)
        if suspect is not None:  # it fails alone, or not at all
            plan.chunks.append(self._chunk(suspect, self.limits.n_batch))
            return
        if active:
            turn = self.turns.next([running.adapters for running in active])
            active = [running for running in active if running.adapters == turn]
        decoding = [running for running in active if running.is_decoding]
        prefilling = [running for running in active if not running.is_decoding]
        budget = self.n_mixed if decoding else self._lone_budget(prefilling)
        if self.limits.apart and decoding and prefilling:
            decoding, prefilling = self._take_turns(decoding, prefilling)
        drafts = self.drafts.make(decoding, len(prefilling), budget)
        for running, draft in zip(decoding, drafts, strict=True):
            plan.chunks.append(self._chunk(running, 1, draft))
        if self.limits.equal_chunks:  # passes of their own: the single tokens take no room there
            budget = min(budget + plan.n_tokens, self.limits.n_batch)
        self._prefill(plan, prefilling, max(1, budget - plan.n_tokens))

    def _take_turns(
        self, decoding: list[Running], prefilling: list[Running]
    ) -> tuple[list[Running], list[Running]]:
        """Single tokens in one step, prompts in the next."""
        self._prompts_next = not self._prompts_next
        return (decoding, []) if self._prompts_next else ([], prefilling)

    def _lone_budget(self, prefilling: list[Running]) -> int:
        """Tokens of a step of prompts alone. Where states exist only at the ends of steps, short
        ones let others join a long prompt in time."""
        longest = max((running.n_left for running in prefilling), default=0)
        if self.limits.can_cut or not longest > self.limits.n_ubatch > 0:
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

    def _chunk(self, running: Running, budget: int, draft: Draft = NO_DRAFT) -> Chunk:
        end = min(running.n_computed + budget, running.next_stop())
        tokens = running.tokens[running.n_computed : end]
        return Chunk(running, tokens, end == len(running.tokens), draft)

    # ------------------------------------------------------------ admission

    def _admit(self) -> list[Running]:
        started: list[Running] = []
        for request in self.waiting:
            if not self.slots.idle:
                break
            if self._has_its_share(request) or not self.slots.can_take(request.slot):
                continue
            tokens = [*request.prompt, *request.generated]
            find = self.cache.find
            start = find(tokens, request.adapters) if request.cache_prompt else Start()
            if request.cache_prompt and self._waits_for_prefix(tokens, request.adapters, start):
                continue
            running = self._start(request, tokens, start)
            if running is None:
                break  # those behind it may not overtake: it would never fit
            self.waiting.remove(request.id)
            self.running[request.id] = running
            started.append(running)
        return started

    def _waits_for_prefix(self, tokens: list[int], adapters: Adapters, start: Start) -> bool:
        """Whether a running request is about to have more of this prompt than anybody now."""
        if not self.limits.unified:
            return False
        for running in self.running.values():
            if running.is_paused or running.adapters != adapters:
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
        n_held, _ = self.tree.match(tokens, request.adapters)
        placed = self.pool.place(start, n_reserved)
        if placed is None:
            return None
        reason, drift_at = self._explain(tokens, request.adapters, start, n_held)
        seq, n_reused = placed
        slot = self.slots.take(request.slot, tokens)
        self.cache.unpin(slot)
        running = Running(
            request,
            slot,
            seq,
            tokens,
            n_reserved,
            n_computed=n_reused,
            n_reused=n_reused,
            n_generated=len(request.generated),
            reason=reason,
            drift_at=drift_at,
        )
        self.branches.mark(running)
        if self.policy.keep_prompts and self.limits.unified and not self.limits.can_cut:
            running.add_point(running.n_prompt - 1)
        return running

    def _reservation(self, request: Submit, n_tokens: int) -> int:
        """Cells to start with: the whole request if it says how long it is, else a fair share."""
        if request.max_tokens >= 0:
            wanted = len(request.prompt) + request.max_tokens
        else:
            wanted = self.limits.n_ctx // self.limits.n_slots
        return min(max(n_tokens + 1, wanted), self.limits.n_ctx_seq)

    def _explain(
        self, tokens: list[int], adapters: Adapters, start: Start, n_held: int
    ) -> tuple[str, int]:
        """Why the rest of a prompt has to be computed of which so much was there."""
        n_held = min(max(n_held, start.n), len(tokens) - 1)
        n_gone = self.cache.shared_with_evicted(tokens, adapters)
        extends = start.kept is not None and start.n == len(start.kept.tokens)
        return reasons.explain(len(tokens), start.n, n_held, n_gone, extends)

    # ------------------------------------------------------------ update

    def update(self, plan: Plan, sampled: Iterable[SampledToken]) -> list[Output]:
        """Note what a step computed; one Output for each request that has news."""
        results: dict[int, list[SampledToken]] = {}
        for result in sampled:
            results.setdefault(result.id, []).append(result)
        outputs: list[Output] = []
        for chunk in plan.chunks:
            running = chunk.request
            if running.id not in self.running:
                continue
            is_prompt = running.n_computed < running.n_prompt
            self._note_computed(chunk, len(results.get(running.id, ())))
            if is_prompt and running.request.progress:
                outputs.append(running.progress())
        outputs += [
            self._accept(self.running[id], found)
            for id, found in results.items()
            if id in self.running
        ]
        return outputs

    def _note_computed(self, chunk: Chunk, n_sampled: int) -> None:
        running = chunk.request
        accepted = chunk.draft.tokens[: max(0, n_sampled - 1)]
        self.tree.extend(running.seq, [*chunk.tokens, *accepted], running.adapters)
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
        if running.n_computed < running.n_reserved or self.pool.grow(running):
            return False
        return not self._shift(running)

    # ------------------------------------------------------------ starting over

    def _shift(self, running: Running) -> bool:
        """Forget the older half of what may be forgotten, and compute the rest again: exact for
        every kind of model, at the price of at most one token for each one gained."""
        n_keep = running.request.n_keep if running.request.n_keep >= 0 else running.n_prompt
        n_most = len(running.tokens) - n_keep
        n_gone = min(running.request.n_discard, n_most - 1) or n_most // 2
        if running.request.overflow != "shift" or n_gone < 1:
            return False
        running.tokens = running.tokens[:n_keep] + running.tokens[n_keep + n_gone :]
        running.shifted = True
        running.lookup = None
        self._start_over(running)
        return True

    def _start_over(self, running: Running) -> None:
        """Have a running request's tokens computed again."""
        running.note_share(self.tree.n_share(running.seq))
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
                start = self.cache.find(running.tokens, running.adapters)
                if not self._waits_for_prefix(running.tokens, running.adapters, start):
                    n = self.pool.refill(running, start)
                    if n is None:
                        return False
                    running.n_computed, running.is_paused = n, False
        return True

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
