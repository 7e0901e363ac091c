"""The HTTP side's end of the engine: requests and questions out, outputs in.

It outlives the engines behind it. All outputs of a step are dealt to their
requests at once, and each waiting client is woken once.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import ServerError
from .link import Engine
from .messages import (
    Answer,
    AnyRequest,
    Cancel,
    FromEngine,
    Output,
    Query,
    QueryKind,
    Ready,
    Started,
    StepOutputs,
)
from .replay import Replay
from .stream import RequestStream
from .supervisor import Supervisor


@dataclass(slots=True)
class Request:
    """One that has not had its last output."""

    replay: Replay
    stream: RequestStream


@dataclass(slots=True)
class Question:
    """A query that has no answer yet."""

    query: Query
    answer: asyncio.Future[Any]


class EngineClient:
    """Speaks to one engine after the other, from one event loop.

    What is asked while one is restarted waits for it. The arguments are `Supervisor`'s.
    """

    def __init__(self, start_engine: Callable[[], Engine], *, hang_timeout_s: float = 0) -> None:
        self._ids = itertools.count(1)
        self._requests: dict[int, Request] = {}
        self._questions: dict[int, Question] = {}
        self._supervisor = Supervisor(start_engine, self, hang_timeout_s)
        self._supervising: asyncio.Task[None] | None = None

    @property
    def info(self) -> Ready | None:
        """What the engine said when it was ready, or the one before it."""
        return self._supervisor.info

    @property
    def n_restarts(self) -> int:
        """Engines that ended and were replaced."""
        return self._supervisor.n_restarts

    @property
    def alive(self) -> bool:
        """The engine answers."""
        return self._supervisor.state == "ready"

    def check_alive(self) -> None:
        """Raises `ServerError` with the reason if the engine does not answer."""
        if not self.alive:
            raise ServerError(self._supervisor.failure)

    def check_accepting(self) -> None:
        """Raises `ServerError` if a request could not even wait for an engine."""
        if self._supervisor.state in ("loading", "stopped"):
            self.check_alive()

    # ------------------------------------------------------------ from start to end

    async def start(self, on_loading: Callable[[float], None] | None = None) -> Ready:
        """Wait until the model is loaded. Raises `ServerError` if that fails.

        `on_loading` hears the fraction that is done, 0 to 1.
        """
        self._supervisor.on_loading = on_loading
        self._supervising = asyncio.create_task(self._supervise())
        ready = asyncio.create_task(self._supervisor.ready.wait())
        await asyncio.wait((ready, self._supervising), return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        self._supervisor.on_loading = None
        if self.info is None:
            await self.wait_stopped()
        assert self.info is not None
        return self.info

    async def wait_stopped(self) -> None:
        """Wait until no engine is started any more. Raises `ServerError` with the reason."""
        assert self._supervising is not None
        await asyncio.shield(self._supervising)

    async def close(self) -> None:
        """End every stream and stop listening. The engine itself is its owner's to stop."""
        self._stop("the server is shutting down")
        if self._supervising is not None:
            self._supervising.cancel()
            with contextlib.suppress(asyncio.CancelledError, ServerError):
                await self._supervising

    async def _supervise(self) -> None:
        try:
            await self._supervisor.run()
        except ServerError as error:
            self._stop(str(error))
            raise

    def _stop(self, why: str) -> None:
        """No engine any more: every request and question ends with an error, once."""
        self._supervisor.stop(why)
        for id in tuple(self._requests):
            self._fail(id, self._supervisor.failure)
        for question in self._questions.values():
            if not question.answer.done():
                question.answer.set_exception(ServerError(self._supervisor.failure))

    # ------------------------------------------------------------ to the engine

    def stream(self, owner: str = "") -> RequestStream:
        """An empty stream; `submit` to it. `owner` is for reports."""
        return RequestStream(self, owner)

    def owner(self, id: int | None) -> str | None:
        """Whose request this is; None if it is not running."""
        request = self._requests.get(id) if id is not None else None
        return request.stream.owner if request is not None else None

    async def query(self, kind: QueryKind, slot: int = -1, path: str = "") -> Any:
        """A report of the engine's, as of between two steps. Raises `ServerError`."""
        self.check_accepting()
        question = Question(Query(next(self._ids), kind, slot, path), asyncio.Future())
        self._questions[question.query.id] = question
        self._supervisor.send(question.query)
        try:
            return await question.answer
        finally:
            del self._questions[question.query.id]

    def next_id(self) -> int:
        """For a new request."""
        return next(self._ids)

    def admit(self, stream: RequestStream, submit: AnyRequest) -> None:
        """Run a request, or have it wait for the next engine. Raises `ServerError`."""
        self.check_accepting()
        self._requests[submit.id] = Request(Replay(submit), stream)
        self._supervisor.send(submit)

    def forget(self, id: int, *, cancel: bool = False) -> None:
        """Deliver nothing more of a request; `cancel` stops it too."""
        if self._requests.pop(id, None) is not None and cancel:
            self._supervisor.send(Cancel(id))

    # ------------------------------------------------------------ from the engine

    @property
    def is_busy(self) -> bool:
        """Somebody waits for the engine."""
        return bool(self._requests or self._questions)

    def receive(self, message: FromEngine) -> None:
        """Deal out what an engine says."""
        if isinstance(message, StepOutputs):
            for output in message.outputs:
                self._deal(output)
        elif isinstance(message, Started):
            for id in message.ids:
                if id in self._requests:
                    self._requests[id].replay.started = True
        elif isinstance(message, Answer):
            question = self._questions.get(message.id)
            if question is not None and not question.answer.done():
                question.answer.set_result(message.report)

    def begin(self) -> None:
        """Give a fresh engine all there is to do, oldest first."""
        for request in self._requests.values():
            self._supervisor.send(request.replay.submit)
        for question in self._questions.values():
            if not question.answer.done():
                self._supervisor.send(question.query)

    def lose(self, why: str) -> int:
        """End what the next engine cannot go on with; count what it can."""
        assert self.info is not None
        n = 0
        for question in self._questions.values():
            if question.query.is_action and not question.answer.done():
                question.answer.set_exception(ServerError(f"{why}; what its slots held is gone"))
        for id, request in tuple(self._requests.items()):
            was_running = request.replay.started
            error = request.replay.engine_gone(self.info.n_ctx_slot)
            if error:
                self._fail(id, f"{why}; {error}")
            else:
                n += was_running
        return n

    def _deal(self, output: Output) -> None:
        request = self._requests.get(output.id)
        if request is None:
            return
        ended = output.finish is not None
        news = request.replay.accept(output)
        if output.finish in ("eos", "length", "embedded"):
            self._supervisor.restarts.finished()
        if news is not None:
            if news.finish is not None:
                self.forget(news.id, cancel=not ended)
            request.stream.deliver(news)

    def _fail(self, id: int, error: str) -> None:
        request = self._requests.pop(id)
        request.stream.deliver(Output(id, finish="error", error=error, status=503))
