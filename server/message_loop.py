"""What both engine loops share: one thread, one context, and what is said on one connection."""

from __future__ import annotations

import logging
import select
from abc import ABC, abstractmethod
from collections.abc import Iterable
from multiprocessing.connection import Connection
from typing import Any, Generic, TypeVar

from ..context import Context
from .admission import Admission
from .counters import Counters
from .mailer import Mailer
from .messages import Adapters, Output
from .stopwatch import Clock, monotonic

logger = logging.getLogger("pannier.server")

Scheduling = TypeVar("Scheduling", bound=Admission[Any, Any])


class MessageLoop(ABC, Generic[Scheduling]):
    """Serves one connection with one context until told to stop or the other side is gone."""

    def __init__(
        self,
        connection: Connection,
        context: Context,
        scheduler: Scheduling,
        *,
        queue_timeout_s: float = 0.0,
        clock: Clock = monotonic,
    ) -> None:
        self.connection = connection
        self.poller = select.poll()  # made once: `Connection.poll` makes one for each call
        self.poller.register(connection.fileno(), select.POLLIN)
        self.context = context
        self.scheduler = scheduler
        self.queue_timeout_s = queue_timeout_s
        self.clock = clock
        self.mailer = Mailer(connection)
        self.n_steps = 0
        self.adapters: Adapters = ()
        self.counters = Counters(clock())
        self.stopping = False

    @abstractmethod
    def work(self) -> None:
        """Read what there is to read, and compute a step."""

    @abstractmethod
    def send(self, outputs: Iterable[Output | None]) -> None:
        """News for the other side."""

    @abstractmethod
    def flush(self) -> None:
        """Save what the next start can use."""

    @abstractmethod
    def submitted_at(self, id: int) -> float:
        """When a request that waits came in."""

    def run(self) -> None:
        """Serve until `Shutdown` or the end of the connection."""
        try:
            while not self.stopping:
                self.work()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            logger.info("the HTTP side is gone")
        finally:
            self.finish()

    def finish(self) -> None:
        """Leave nothing behind."""
        self.cancel_all()
        self.flush()
        self.mailer.close()

    def use(self, adapters: Adapters) -> None:
        """Compute with these from now on."""
        if adapters != self.adapters:
            self.context.set_adapters(dict(adapters))
            self.adapters = adapters

    def end_overdue(self) -> None:
        """End requests that have waited for longer than they may."""
        if self.queue_timeout_s <= 0 or not self.scheduler.waiting:
            return
        latest = self.clock() - self.queue_timeout_s
        ids = [r.id for r in self.scheduler.waiting if self.submitted_at(r.id) < latest]
        error = f"no slot was free for {self.queue_timeout_s:g} s; try again later"
        retry_after_s = self.scheduler.policy.retry_after_s
        self.counters.n_timed_out += len(ids)
        self.send(self.scheduler.fail(id, error, 503, retry_after_s) for id in ids)

    def cancel_all(self) -> None:
        """End what still runs, and say so if anybody listens."""
        ids = [*self.scheduler.running, *(request.id for request in self.scheduler.waiting)]
        try:
            self.send([self.scheduler.cancel(id) for id in ids])
        except OSError:
            logger.info("nobody listens to the last %d answers", len(ids))
