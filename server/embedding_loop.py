"""The engine loop of a server that embeds: the one thread that owns the context.

It speaks the messages of the loop that generates, with `Embed` in the place of `Submit`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from multiprocessing.connection import Connection

from ..context import Context
from ..errors import ArgumentError, PannierError
from .counters import Counters
from .embedding_scheduler import EmbeddingScheduler, Piece
from .mailer import Mailer
from .messages import (
    Adapters,
    Answer,
    Cancel,
    Embed,
    Output,
    Query,
    Shutdown,
    Started,
    StepOutputs,
    ToEngine,
)
from .reasons import NONE
from .report import embedding_memory_report, embedding_slots_report
from .stopwatch import Clock, monotonic

logger = logging.getLogger("pannier.server")


class EmbeddingLoop:
    """Serves one connection with one context until told to stop or the other side is gone."""

    def __init__(
        self,
        connection: Connection,
        context: Context,
        scheduler: EmbeddingScheduler,
        *,
        queue_timeout_s: float = 0.0,
        clock: Clock = monotonic,
    ) -> None:
        self.connection = connection
        self.context = context
        self.scheduler = scheduler
        self.queue_timeout_s = queue_timeout_s
        self.clock = clock
        self.submitted: dict[int, float] = {}
        self.mailer = Mailer(connection)
        self.n_steps = 0
        self.counters = Counters(clock())
        self.adapters: Adapters = ()
        self.stopping = False

    def run(self) -> None:
        """Serve until `Shutdown` or the end of the connection."""
        try:
            while not self.stopping:
                self.receive()
                batch = self.schedule()
                self.send(self.step(batch) if batch else [])
        except (EOFError, BrokenPipeError, ConnectionResetError):
            logger.info("the HTTP side is gone")
        finally:
            self.cancel_all()
            self.mailer.close()

    # ------------------------------------------------------------ messages

    def receive(self) -> None:
        """Handle every message there is; wait for one when there is nothing to compute."""
        while not self.stopping and (self.scheduler.is_idle or self.connection.poll(0)):
            self.handle(self.connection.recv())
        self.end_overdue()

    def handle(self, message: ToEngine) -> None:
        if isinstance(message, Embed):
            self.submitted[message.id] = self.clock()
            refused = self.scheduler.submit(message)
            self.counters.n_refused += refused is not None and refused.status == 503
            self.send([refused])
        elif isinstance(message, Cancel):
            self.send([self.scheduler.cancel(message.id)])
        elif isinstance(message, Query):
            self.mailer.send(Answer(message.id, self.report(message)))
        elif isinstance(message, Shutdown):
            self.stopping = True

    def end_overdue(self) -> None:
        """End requests that have waited for longer than they may."""
        if self.queue_timeout_s <= 0 or not self.scheduler.waiting:
            return
        latest = self.clock() - self.queue_timeout_s
        error = f"no slot was free for {self.queue_timeout_s:g} s; try again later"
        retry_after_s = self.scheduler.policy.retry_after_s
        overdue = [r for r in self.scheduler.waiting if self.submitted[r.id] < latest]
        self.counters.n_timed_out += len(overdue)
        self.send(self.scheduler.fail(r.id, error, 503, retry_after_s) for r in overdue)

    def report(self, query: Query) -> object:
        if query.kind == "alive":
            return True
        if query.kind == "memory":
            return embedding_memory_report(self)
        return embedding_slots_report(self.scheduler)

    def send(self, outputs: Iterable[Output | None]) -> None:
        """All news of a step in one message."""
        news = [output for output in outputs if output is not None]
        for output in news:
            self.submitted.pop(output.id, None)
            self.counters.note_output(output)
        if news:
            self.mailer.send(StepOutputs(news))

    def cancel_all(self) -> None:
        """End what still runs, and say so if anybody listens."""
        ids = [*self.scheduler.running, *(request.id for request in self.scheduler.waiting)]
        try:
            self.send([self.scheduler.cancel(id) for id in ids])
        except OSError:
            logger.info("nobody listens to the last %d answers", len(ids))

    # ------------------------------------------------------------ step

    def schedule(self) -> list[Piece]:
        started = self.scheduler.admit()
        self.counters.starts[NONE] += len(started)
        if started:
            self.mailer.send(Started(tuple(started)))
        return self.scheduler.schedule()

    def use(self, adapters: Adapters) -> None:
        """Compute with these from now on."""
        if adapters != self.adapters:
            self.context.set_adapters(dict(adapters))
            self.adapters = adapters

    def step(self, batch: list[Piece]) -> list[Output]:
        """Compute one batch. What fails costs at most the requests in it."""
        self.n_steps += 1
        try:
            self.use(batch[0].owner.request.adapters)
            rows = self.context.embed([piece.prompt for piece in batch], normalize=False)
        except ArgumentError as error:
            owners = {piece.owner.request.id for piece in batch}
            ended = [self.scheduler.fail(id, str(error), 400) for id in owners]
            return [output for output in ended if output is not None]
        except PannierError as error:
            logger.error("a batch of %d prompts failed: %s", len(batch), error)
            return self.scheduler.retry(batch, str(error))
        self.counters.prompt.n_tokens += sum(len(piece.prompt) for piece in batch)
        return self.scheduler.update(batch, list(rows))
