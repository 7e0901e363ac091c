"""The engine loop: the one thread that owns the context.

Three calls make a step: schedule, step, update. Between steps the loop reads
messages; while there is nothing to compute it sleeps until one comes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from multiprocessing.connection import Connection

from ..batch import Batch, Sampled
from ..context import Context
from ..errors import PannierError
from .messages import (
    Answer,
    Cancel,
    Output,
    Query,
    Shutdown,
    StepOutputs,
    Submit,
    ToEngine,
    TokenLogprob,
)
from .outbox import Outbox
from .report import memory_report, slots_report
from .scheduler import Plan, Running, SampledToken, Scheduler
from .stopwatch import Clock, Stopwatch, monotonic

logger = logging.getLogger("pannier.server")


class EngineLoop:
    """Serves one connection with one context until told to stop or the other side is gone."""

    def __init__(
        self,
        connection: Connection,
        context: Context,
        scheduler: Scheduler,
        clock: Clock = monotonic,
    ) -> None:
        self.connection = connection
        self.context = context
        self.scheduler = scheduler
        self.clock = clock
        self.watches: dict[int, Stopwatch] = {}
        self.outbox = Outbox()
        self.stopping = False

    def run(self) -> None:
        """Serve until `Shutdown` or the end of the connection."""
        try:
            while not self.stopping:
                self.receive()
                plan = self.scheduler.schedule()
                sampled = self.step(plan)
                self.send(self.scheduler.update(plan, sampled))
                self.clear_released()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            logger.info("the HTTP side is gone")
        finally:
            self.cancel_all()

    # ------------------------------------------------------------ messages

    def receive(self) -> None:
        """Handle every message there is; wait for one when there is nothing to compute."""
        while not self.stopping and (self.scheduler.is_idle or self.connection.poll(0)):
            self.handle(self.connection.recv())

    def handle(self, message: ToEngine) -> None:
        if isinstance(message, Submit):
            self.watches[message.id] = Stopwatch(len(message.prompt), submitted=self.clock())
            if message.whole:
                self.outbox.hold(message.id)
            self.send([self.scheduler.submit(message)])
        elif isinstance(message, Cancel):
            self.send([self.scheduler.cancel(message.id)])
            self.clear_released()
        elif isinstance(message, Query):
            self.connection.send(Answer(message.id, self.report(message)))
        elif isinstance(message, Shutdown):
            self.stopping = True

    def report(self, query: Query) -> object:
        make = {"memory": memory_report, "slots": slots_report}[query.kind]
        return make(self.context, self.scheduler)

    def send(self, outputs: Iterable[Output | None]) -> None:
        """All news of a step in one message, with timings where a request begins or ends."""
        timed = (self.timed(output) for output in outputs if output is not None)
        news = list(self.outbox.pass_on(timed))
        if news:
            self.connection.send(StepOutputs(news))

    def timed(self, output: Output) -> Output:
        watch = self.watches.get(output.id)
        if watch is None:
            return output
        now = self.clock()
        first = not watch.first_token and bool(output.tokens)
        if first:
            watch.first_token = now
        watch.n_predicted += len(output.tokens)
        if first or output.finish is not None:
            output.timings = watch.timings(now)
        if output.finish is not None:
            del self.watches[output.id]
        return output

    def cancel_all(self) -> None:
        """End what still runs, and say so if anybody listens."""
        ids = [*self.scheduler.running, *(request.id for request in self.scheduler.waiting)]
        try:
            self.send([self.scheduler.cancel(id) for id in ids])
        except OSError:
            logger.info("nobody listens to the last %d answers", len(ids))

    # ------------------------------------------------------------ step

    def step(self, plan: Plan) -> list[SampledToken]:
        """Compute one plan. A failure ends the requests in it and no others."""
        for running in plan.started:
            self.start(running, plan)
        if not plan.chunks:
            return []
        batch, n_top = self.make_batch(plan)
        try:
            result = self.context.step(batch, n_top)
        except PannierError as error:
            self.fail_all(plan, error)
            return []
        by_slot = {chunk.request.slot: chunk.request.id for chunk in plan.chunks}
        return [to_sampled(by_slot[row.seq_id], row, n_top > 0) for row in result.sampled]

    def clear_released(self) -> None:
        for slot in self.scheduler.take_released():
            self.context.sequence(slot).clear()
            self.context.clear_sampler(slot)

    def start(self, running: Running, plan: Plan) -> None:
        """Give a request its sampler; one that cannot be made ends the request."""
        request = running.request
        if request.id in self.watches:
            self.watches[request.id].started = self.clock()
        try:
            self.context.set_sampler(
                running.slot, request.sampling, request.prompt, request.n_probs
            )
        except PannierError as error:
            plan.chunks = [chunk for chunk in plan.chunks if chunk.request is not running]
            self.send([self.scheduler.fail(request.id, str(error), status=400)])

    def make_batch(self, plan: Plan) -> tuple[Batch, int]:
        batch = Batch()
        for chunk in plan.chunks:
            batch.add(chunk.request.slot, chunk.tokens, sample=chunk.sample)
        n_top = max(chunk.request.request.n_probs for chunk in plan.chunks)
        return batch, n_top

    def fail_all(self, plan: Plan, error: PannierError) -> None:
        logger.error("a step of %d tokens failed: %s", plan.n_tokens, error)
        self.send([self.scheduler.fail(chunk.request.id, str(error)) for chunk in plan.chunks])


def to_sampled(id: int, row: Sampled, wants_logprobs: bool) -> SampledToken:
    if not wants_logprobs or row.logprob != row.logprob:  # NaN: this request did not ask
        return SampledToken(id, row.token)
    return SampledToken(id, row.token, TokenLogprob(row.token, row.logprob, row.top))
