"""The engine loop: the one thread that owns the context.

Three calls make a step: schedule, step, update. Between steps the loop reads messages; while there
is nothing to compute it writes states to disk, if it may, and then sleeps until a message comes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from multiprocessing.connection import Connection

from ..batch import Batch, Sampled
from ..context import Context
from ..errors import CacheFull, PannierError
from .context_memory import ContextMemory
from .message_loop import MessageLoop
from .messages import (
    Answer,
    Cancel,
    Output,
    Query,
    Shutdown,
    Started,
    StepOutputs,
    Submit,
    ToEngine,
    TokenLogprob,
)
from .operations import Operation
from .outbox import Outbox
from .pace import Pace
from .plan import Plan, SampledToken
from .report import memory_report, request_memory, slots_report
from .running import Running
from .scheduler import Scheduler
from .slot_actions import SlotActions
from .state_store import StateStore
from .stopwatch import Clock, Stopwatch, monotonic

logger = logging.getLogger("pannier.server")

FEW = 2
"""News of so many requests are sent at once."""
GAP_MS = 2
"""The HTTP side needs at most so long between two requests that came at once."""
GATHER_S = 0.02
"""Longest that a request waits for others."""


class EngineLoop(MessageLoop[Scheduler]):
    """Generates for one connection with one context."""

    def __init__(
        self,
        connection: Connection,
        context: Context,
        scheduler: Scheduler,
        store: StateStore | None = None,
        *,
        max_itl_s: float = 0.0,
        stream_interval_s: float = 0.0,
        queue_timeout_s: float = 0.0,
        clock: Clock = monotonic,
    ) -> None:
        super().__init__(
            connection, context, scheduler, queue_timeout_s=queue_timeout_s, clock=clock
        )
        self.memory = ContextMemory(context, store or StateStore())
        self.actions = SlotActions(self)
        self.deferred: list[Query] = []
        """Actions on slots that are at work."""
        self.pace = Pace(scheduler.limits.n_mixed, max_itl_s)
        self.watches: dict[int, Stopwatch] = {}
        self.outbox = Outbox(stream_interval_s)

    def work(self) -> None:
        self.receive()
        plan = self.scheduler.schedule()
        self.send(self.step(plan))
        self.clear_samplers()
        self.act()

    # ------------------------------------------------------------ messages

    def receive(self) -> None:
        """Handle every message there is; wait for one when there is nothing to compute."""
        was_idle = self.scheduler.is_idle
        while not self.stopping and (self.scheduler.is_idle or self.poller.poll(0)):
            if not self.poller.poll(0):
                self.tidy()
            self.handle(self.connection.recv())
        if was_idle:
            self.gather()
        self.end_overdue()

    def gather(self) -> None:
        """Wait a little for more: requests that start together share their steps."""
        until = self.clock() + GATHER_S
        n_slots = self.scheduler.limits.n_slots
        while not self.stopping and 0 < len(self.scheduler.waiting) < n_slots:
            if all(request.logits for request in self.scheduler.waiting):
                return  # somebody goes token by token
            if self.clock() >= until or not self.poller.poll(GAP_MS):
                return
            self.handle(self.connection.recv())

    def tidy(self) -> None:
        """Nothing to compute: free what is free, and save a state for the next start."""
        self.perform_pending()
        while not self.poller.poll(0):
            self.scheduler.cache.flush(1)
            if not self.perform_pending():
                return

    def perform_pending(self) -> bool:
        """Carry out operations that wait for no step. Whether there were some, and all went well:
        on a full disk the next one would fail too."""
        operations = self.scheduler.take_operations()
        return self.carry_out(operations) and bool(operations)

    def handle(self, message: ToEngine) -> None:
        if isinstance(message, Submit):
            self.admit(message)
        elif isinstance(message, Cancel):
            self.send([self.scheduler.cancel(message.id)])
            self.clear_samplers()
            self.act()
        elif isinstance(message, Query) and message.is_action:
            self.deferred.append(message)
            self.act()
        elif isinstance(message, Query):
            self.mailer.send(Answer(message.id, self.report(message)))
        elif isinstance(message, Shutdown):
            self.stopping = True

    def act(self) -> None:
        """Carry out what was asked of slots that are idle now."""
        waiting, self.deferred = self.deferred, []
        for query in waiting:
            if self.scheduler.slots.is_busy(query.slot):
                self.deferred.append(query)
            else:
                self.mailer.send(Answer(query.id, self.actions.perform(query)))

    def admit(self, request: Submit) -> None:
        self.watches[request.id] = Stopwatch(len(request.prompt), self.clock())
        if request.whole:
            self.outbox.hold(request.id)
        refused = self.scheduler.submit(request)
        self.counters.n_refused += refused is not None and refused.status == 503
        self.send([refused])

    def submitted_at(self, id: int) -> float:
        return self.watches[id].submitted

    def report(self, query: Query) -> object:
        if query.kind == "alive":
            return True
        if query.kind == "memory":
            self.perform_pending()
            return memory_report(self)
        if query.kind == "metrics":
            self.perform_pending()
            return {**memory_report(self), "counters": self.counters.report(self.scheduler)}
        return slots_report(self.context, self.scheduler)

    def send(self, outputs: Iterable[Output | None]) -> None:
        """All news of a step, or of some quick ones, in one message."""
        timed = (self.timed(output) for output in outputs if output is not None)
        self.hand_over(at_once=self.outbox.add(timed))

    def hand_over(self, *, at_once: bool = True) -> None:
        """Send what waits; unless `at_once`, only if it has waited for long enough."""
        news = self.outbox.take(self.clock(), at_once=at_once)
        if news:
            self.mailer.send(StepOutputs(news), is_small=len(news) <= FEW)

    def timed(self, output: Output) -> Output:
        """The same output, with timings where its request begins or ends."""
        watch = self.watches.get(output.id)
        if watch is None:
            return output
        now = self.clock()
        first = not watch.first_token and bool(output.tokens)
        if first:
            watch.first_token = now
        watch.n_predicted += len(output.tokens)
        if first or output.finish is not None or watch.n_drafted:
            output.timings = watch.timings(now)
        if output.finish is not None:
            self.counters.note_end(watch, output, now)
            del self.watches[output.id]
        return output

    def flush(self) -> None:
        self.scheduler.cache.flush()
        self.perform_pending()

    # ------------------------------------------------------------ step

    def step(self, plan: Plan) -> list[Output]:
        """Compute one plan. What fails costs at most the requests in it."""
        whole = self.carry_out(plan.operations)
        if plan.started:
            self.mailer.send(Started(tuple(running.id for running in plan.started)))
        for running in plan.started:
            self.start(running, plan)
        if not whole or not plan.chunks:
            self.hand_over()
            return []  # what was lost is planned again
        if not plan.only_decodes:
            self.hand_over()  # the step may be long
        batch, n_top = self.make_batch(plan)
        started = self.clock()
        try:
            self.use(plan.adapters)
            result = self.context.step(batch, n_top)
        except CacheFull as error:
            logger.error("no cells for a step of %d tokens: %s", plan.n_tokens, error)
            return self.scheduler.give_way(plan, str(error))
        except PannierError as error:
            level = logging.DEBUG if self.stopping else logging.ERROR
            logger.log(level, "a step of %d tokens failed: %s", plan.n_tokens, error)
            for chunk in plan.chunks:
                self.context.sequence(chunk.request.seq).clear()
            return self.scheduler.retry(plan, str(error))
        self.n_steps += 1
        seconds = self.clock() - started
        self.counters.note_step(plan, seconds, len(self.scheduler.running))
        self.keep_pace(plan, seconds)
        by_seq = {chunk.request.seq: chunk.request.id for chunk in plan.chunks}
        sampled = [to_sampled(by_seq[row.seq_id], row, n_top > 0) for row in result.sampled]
        outputs = self.scheduler.update(plan, sampled)
        self.tell_memory(plan, outputs)
        self.tell_logits(plan, outputs)
        self.note_drafts(plan, result.lost)
        return outputs

    def tell_memory(self, plan: Plan, outputs: list[Output]) -> None:
        """What requests hold that want to know; the sequences of those that end are still as they
        were. With every token: a client's stop string may make it the last."""
        asking = {c.request.id: c.request for c in plan.chunks if c.request.request.report_memory}
        told = [output for output in outputs if output.id in asking]
        if not told:
            return
        held = self.context.sequence_memory(*(asking[output.id].seq for output in told))
        for output, one in zip(told, held, strict=True):
            output.memory = request_memory(self.context, asking[output.id], one)

    def tell_logits(self, plan: Plan, outputs: list[Output]) -> None:
        """The logits of those that want them, which the next step overwrites."""
        begin = 0
        for chunk in plan.chunks:
            end = begin + len(chunk.tokens)
            wanted = chunk.request.request.logits
            rows = range(begin, end) if wanted == "all" else range(end - 1, end)
            if wanted == "all" or (wanted and chunk.sample):
                output = next((one for one in outputs if one.id == chunk.request.id), None)
                if output is None:
                    output = Output(chunk.request.id, slot=chunk.request.slot)
                    outputs.append(output)
                output.logits += [self.context.logits(row) for row in rows]
            begin += chunk.n_tokens

    def note_drafts(self, plan: Plan, lost: list[int]) -> None:
        for running in (chunk.request for chunk in plan.chunks if chunk.draft.tokens):
            watch = self.watches.get(running.id)
            if watch is not None:
                watch.n_drafted = running.n_drafted
                watch.n_draft_accepted = running.n_draft_accepted
        if lost:
            logger.warning("sequences %s could not go back and are computed again", lost)
            self.scheduler.lose_drafted(lost)

    def carry_out(self, operations: Iterable[Operation]) -> bool:
        """False if the scheduler had to hear of a loss."""
        if self.memory.perform(operations):
            return True
        self.scheduler.lose(self.memory.lost, self.memory.bad_keys)
        return False

    def keep_pace(self, plan: Plan, seconds: float) -> None:
        if self.pace.target_s <= 0:
            return
        prompts = [chunk for chunk in plan.chunks if not chunk.request.is_decoding]
        n_prompt = sum(chunk.n_tokens for chunk in prompts)
        self.pace.note(len(plan.chunks) - len(prompts), n_prompt, seconds)
        self.scheduler.n_mixed = self.pace.n_tokens

    def clear_samplers(self) -> None:
        released = self.scheduler.take_released()
        busy = {running.seq for running in self.scheduler.running.values()} if released else set()
        for seq in released:
            if seq not in busy:
                self.context.clear_sampler(seq)

    def start(self, running: Running, plan: Plan) -> None:
        """Give a request its sampler; one that cannot be made ends the request."""
        request = running.request
        self.counters.note_start(running)
        if request.progress:
            self.send([running.progress()])
        watch = self.watches.get(request.id)
        if watch is not None:
            watch.started = self.clock()
            watch.n_reused = min(running.n_reused, watch.n_prompt)
            watch.reason, watch.drift_at = running.reason, running.drift_at
        n_sampled = running.n_generated
        begin = 0 if request.prompt_counts else len(running.tokens) - n_sampled
        try:
            self.context.set_sampler(
                running.seq, request.sampling, running.tokens[begin:], request.n_probs, n_sampled
            )
        except PannierError as error:
            plan.leave_out(running)
            self.send([self.scheduler.fail(request.id, str(error), status=400)])

    def make_batch(self, plan: Plan) -> tuple[Batch, int]:
        batch = Batch()
        for chunk in plan.chunks:
            batch.add(
                chunk.request.seq,
                chunk.tokens,
                sample=chunk.sample,
                logits=chunk.request.request.logits == "all",
                draft=chunk.draft.tokens,
            )
        n_top = max(chunk.request.request.n_probs for chunk in plan.chunks)
        return batch, n_top


def to_sampled(id: int, row: Sampled, wants_logprobs: bool) -> SampledToken:
    if not wants_logprobs or row.logprob != row.logprob:  # NaN: this request did not ask
        return SampledToken(id, row.token)
    return SampledToken(id, row.token, TokenLogprob(row.token, row.logprob, row.top))
