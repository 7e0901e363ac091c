"""What one HTTP request runs on the engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Protocol

from ..sampling import SamplingParams
from .messages import Adapters, AnyRequest, Embed, Output, Submit


class Requests(Protocol):
    """Where a stream's requests go."""

    def next_id(self) -> int:
        """For a new request."""
        ...

    def admit(self, stream: RequestStream, submit: AnyRequest) -> None:
        """Run a request and deliver its outputs to the stream. Raises `ServerError`."""
        ...

    def forget(self, id: int, *, cancel: bool = False) -> None:
        """Deliver nothing more of it; `cancel` stops it too."""
        ...


class RequestStream:
    """One or more prompts of one HTTP request, one inbox.

    Close it, or use it as a context manager: what still runs is cancelled.
    """

    def __init__(self, requests: Requests, owner: str) -> None:
        self._requests = requests
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
        return self._admit(Submit(self._requests.next_id(), prompt, sampling, **options))

    def embed(self, prompts: list[list[int]], *, key: str = "", adapters: Adapters = ()) -> int:
        """Have prompts embedded; return the request's id. Raises `ServerError`."""
        id = self._requests.next_id()
        return self._admit(Embed(id, prompts, key=key, adapters=adapters))

    def _admit(self, work: AnyRequest) -> int:
        self._requests.admit(self, work)
        self._running.add(work.id)
        return work.id

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

    def deliver(self, output: Output) -> None:
        """News of one of its requests."""
        if output.finish is not None:
            self._running.discard(output.id)
        self._inbox.append(output)
        self._wake()

    def cancel(self, id: int) -> None:
        """Stop one request; nothing more comes from it."""
        if id in self._running:
            self._running.discard(id)
            self._requests.forget(id, cancel=True)
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

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
