"""The HTTP side's end of the engine: messages out, each request's outputs in.

One reader callback per message from the engine: all outputs of a step are
dealt to their requests at once, and each waiting client is woken once. Sending
is left to a thread, because a pipe that is full blocks its writer, and a long
prompt fills it while the engine is inside a step.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import queue
import threading
from collections.abc import AsyncIterator, Callable
from multiprocessing.connection import Connection
from typing import Any

from ..errors import ServerError
from ..sampling import SamplingParams
from .messages import (
    Answer,
    Cancel,
    Failed,
    FromEngine,
    Loading,
    Output,
    Query,
    QueryKind,
    Ready,
    StepOutputs,
    Submit,
    ToEngine,
)


class RequestStream:
    """What one HTTP request runs on the engine: one or more prompts, one inbox.

    Close it, or use it as a context manager: what still runs is cancelled.
    """

    def __init__(self, client: EngineClient, owner: str) -> None:
        self._client = client
        self.owner = owner
        self._inbox: list[Output] = []
        self._waiter: asyncio.Future[None] | None = None
        self._running: set[int] = set()
        self._nudged = False
        self.closed = False

    @property
    def done(self) -> bool:
        """Nothing more comes: all is taken and nothing runs, or the stream was closed."""
        return self.closed or not (self._inbox or self._running)

    @property
    def n_running(self) -> int:
        """Requests that have not had their last output."""
        return len(self._running)

    def submit(
        self,
        prompt: list[int],
        sampling: SamplingParams,
        **options: Any,
    ) -> int:
        """Send a request to the engine; return its id. Raises `ServerError`.

        `options` are other fields of `Submit`.
        """
        id = self._client._admit(self, prompt, sampling, options)
        self._running.add(id)
        return id

    async def take(self) -> list[Output]:
        """All outputs that came since the last call; waits for one.

        None of them when the stream is `done`, or after a `nudge`.
        """
        while not (self._inbox or self._nudged or self.done):
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        self._nudged = False
        taken, self._inbox = self._inbox, []
        return [] if self.closed else taken

    async def __aiter__(self) -> AsyncIterator[Output]:
        while not self.done:
            for output in await self.take():
                yield output

    def nudge(self) -> None:
        """Let a waiting `take` return with nothing."""
        self._nudged = True
        self._wake()

    def cancel(self, id: int) -> None:
        """Stop one request; nothing more comes from it."""
        if id in self._running:
            self._running.discard(id)
            self._client._forget(id, cancel=True)
            self._inbox = [output for output in self._inbox if output.id != id]
            self._wake()

    def cancel_all(self) -> None:
        """Stop every request that still runs."""
        for id in tuple(self._running):
            self.cancel(id)

    def close(self) -> None:
        """Stop everything and drop what has not been taken. Safe while `take` waits."""
        self.closed = True
        self.cancel_all()
        self._wake()

    def __enter__(self) -> RequestStream:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _deliver(self, output: Output) -> None:
        if output.finish is not None:
            self._running.discard(output.id)
            self._client._forget(output.id)
        self._inbox.append(output)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class EngineClient:
    """Speaks to the engine side over one duplex connection, from one event loop."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._ids = itertools.count(1)
        self._streams: dict[int, RequestStream] = {}
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._outbox: queue.SimpleQueue[ToEngine | None] = queue.SimpleQueue()
        self._sender: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready: asyncio.Future[Ready] | None = None
        self.info: Ready | None = None
        self._on_loading: Callable[[float], None] | None = None
        self.failure = "Loading model"
        """Why `alive` is false; these two words are llama-server's, and clients wait on them."""

    @property
    def alive(self) -> bool:
        """The engine answers."""
        return self.info is not None and not self.failure

    def check_alive(self) -> None:
        """Raises `ServerError` with the reason if the engine does not answer."""
        if not self.alive:
            raise ServerError(self.failure)

    async def start(self, on_loading: Callable[[float], None] | None = None) -> Ready:
        """Wait until the model is loaded. Raises `ServerError` if that fails.

        `on_loading` hears the fraction that is done, 0 to 1.
        """
        self._on_loading = on_loading
        self._loop = asyncio.get_running_loop()
        self._ready = self._loop.create_future()
        self._loop.add_reader(self._connection.fileno(), self._read)
        self._sender = threading.Thread(target=self._send, name="pannier-send", daemon=True)
        self._sender.start()
        self.info = await self._ready
        self.failure = ""
        return self.info

    def stream(self, owner: str = "") -> RequestStream:
        """An empty stream; `submit` to it. `owner` is for reports."""
        return RequestStream(self, owner)

    def owner(self, id: int | None) -> str | None:
        """Whose request this is; None if it is not running."""
        stream = self._streams.get(id) if id is not None else None
        return stream.owner if stream is not None else None

    async def query(self, kind: QueryKind) -> Any:
        """A report of the engine's, as of between two steps. Raises `ServerError`."""
        self.check_alive()
        id = next(self._ids)
        answer = asyncio.get_running_loop().create_future()
        self._answers[id] = answer
        self._outbox.put(Query(id, kind))
        try:
            return await answer
        finally:
            self._answers.pop(id, None)

    async def close(self) -> None:
        """End every stream and stop listening. The engine itself is its owner's to stop."""
        self._fail("the server is shutting down")
        if self._sender is not None:
            self._outbox.put(None)
            await asyncio.to_thread(self._sender.join, 1.0)
            self._sender = None

    def _admit(
        self,
        stream: RequestStream,
        prompt: list[int],
        sampling: SamplingParams,
        options: dict[str, Any],
    ) -> int:
        self.check_alive()
        id = next(self._ids)
        self._streams[id] = stream
        self._outbox.put(Submit(id, prompt, sampling, **options))
        return id

    def _forget(self, id: int, *, cancel: bool = False) -> None:
        if self._streams.pop(id, None) is not None and cancel:
            self._outbox.put(Cancel(id))

    def _send(self) -> None:
        while (message := self._outbox.get()) is not None:
            try:
                self._connection.send(message)
            except (OSError, ValueError):
                return  # the reader sees the end of the connection and says so

    def _read(self) -> None:
        try:
            message: FromEngine = self._connection.recv()
        except (EOFError, OSError):
            self._fail("the engine stopped; restart the server")
            return
        self._dispatch(message)

    def _dispatch(self, message: FromEngine) -> None:
        if isinstance(message, StepOutputs):
            self._deal(message.outputs)
        elif isinstance(message, Answer):
            answer = self._answers.get(message.id)
            if answer is not None and not answer.done():
                answer.set_result(message.report)
        elif isinstance(message, Loading):
            if self._on_loading is not None:
                self._on_loading(message.fraction)
        elif isinstance(message, Ready):
            if self._ready is not None and not self._ready.done():
                self._ready.set_result(message)
        elif isinstance(message, Failed):
            self._fail(message.error)

    def _deal(self, outputs: list[Output]) -> None:
        for output in outputs:
            stream = self._streams.get(output.id)
            if stream is not None:
                stream._deliver(output)

    def _fail(self, why: str) -> None:
        """The engine is gone: every request and question of it ends with an error, once."""
        if self._loop is not None:
            with contextlib.suppress(OSError, ValueError):
                self._loop.remove_reader(self._connection.fileno())
        if self.info is None or not self.failure:
            self.failure = why
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(ServerError(why))
        for id, stream in list(self._streams.items()):
            stream._deliver(Output(id, finish="error", error=self.failure, status=503))
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(ServerError(self.failure))
