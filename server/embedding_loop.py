"""The engine loop of a server that embeds: the one thread that owns the context.

It speaks the messages of the loop that generates, with `Embed` in the place of `Submit`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from multiprocessing.connection import Connection

from ..context import Context
from ..errors import ArgumentError, PannierError
from .embedding_scheduler import EmbeddingScheduler, Piece
from .message_loop import MessageLoop
from .messages import (
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


class EmbeddingLoop(MessageLoop[EmbeddingScheduler]):
    """Embeds for one connection with one context."""

    def __init__(
        self,
        connection: Connection,
        context: Context,
        scheduler: EmbeddingScheduler,
        *,
        queue_timeout_s: float = 0.0,
        clock: Clock = monotonic,
    ) -> None:
        super().__init__(
            connection, context, scheduler, queue_timeout_s=queue_timeout_s, clock=clock
        )
        self.submitted: dict[int, float] = {}

    def work(self) -> None:
        self.receive()
        batch = self.schedule()
        self.send(self.step(batch) if batch else [])

    # ------------------------------------------------------------ messages

    def receive(self) -> None:
        """Handle every message there is; wait for one when there is nothing to compute."""
        while not self.stopping and (self.scheduler.is_idle or self.poller.poll(0)):
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

    def flush(self) -> None:
        """Nothing: of a request that embeds nothing is kept."""

    def submitted_at(self, id: int) -> float:
        return self.submitted[id]

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

    # ------------------------------------------------------------ step

    def schedule(self) -> list[Piece]:
        started = self.scheduler.admit()
        self.counters.starts[NONE] += len(started)
        if started:
            self.mailer.send(Started(tuple(started)))
        return self.scheduler.schedule()

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
