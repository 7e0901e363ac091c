"""From checked prompts to a response: run them on the engine, whole or as a stream.

A `Format` knows one API's shapes; this module knows when to send what. It ends
what a client no longer reads: a watcher waits for the disconnect and closes
the stream, which cancels its requests on the engine.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol

from fastapi import Request, Response
from starlette.types import Receive, Scope, Send

from ..sampling import DEFAULT_SEED, SamplingParams
from ..text import Pieces
from .auth import key_of
from .choice import Choice, Delta
from .errors import ApiError
from .generation import Generation
from .message_reader import Reading
from .messages import Output
from .state import Serving, serving
from .stream import RequestStream
from .wire import PING, event, json_response

ONLY_EMBEDS = (
    "the current context does not support logits computation: the server was started with "
    "--embeddings or --reranking; start one without"
)


class Format(Protocol):
    """One API's shapes. The methods that return bytes return whole events."""

    def partial(self, choice: Choice, delta: Delta) -> bytes:
        """New text of a choice."""
        ...

    def progress(self, choice: Choice) -> bytes:
        """How far a prompt is."""
        ...

    def last(self, choice: Choice) -> bytes:
        """The end of a choice."""
        ...

    def tail(self, choices: Sequence[Choice]) -> bytes:
        """The end of the stream."""
        ...

    def whole(self, choices: Sequence[Choice]) -> Any:
        """Everything in one body."""
        ...

    def failure(self, error: ApiError) -> bytes:
        """The end of a stream that fails after its first event."""
        return event({"error": error.body()})


class Run:
    """The choices of one HTTP request and the engine's stream for them."""

    def __init__(
        self,
        server: Serving,
        wanted: Generation,
        prompts: list[list[int]],
        request: Request,
        boundaries: tuple[int, ...] = (),
        reading: Reading | None = None,
    ) -> None:
        self.wanted = wanted
        self._reading = reading
        self.stream: RequestStream = server.client.stream(owner_of(request))
        self._key = key_of(request)
        self._boundaries = boundaries
        self._by_id: dict[int, Choice] = {}
        for prompt in prompts:
            for i in range(wanted.n):
                self._submit(server, prompt, i)

    @property
    def choices(self) -> list[Choice]:
        """In the order of their index."""
        return list(self._by_id.values())

    def _submit(self, server: Serving, prompt: list[int], i: int) -> None:
        sampling = own_seed(self.wanted.sampling, i)
        choice = self._choice(server, prompt, sampling)
        id = self.stream.submit(
            prompt,
            sampling,
            max_tokens=self.wanted.max_tokens,
            n_probs=self.wanted.n_probs,
            whole=self.wanted.whole,
            boundaries=self._boundaries,
            cache_prompt=self.wanted.cache_prompt,
            overflow=self.wanted.overflow,
            n_keep=server.n_keep(self.wanted.n_keep),
            priority=self.wanted.priority,
            adapters=self.wanted.adapters,
            slot=self.wanted.slot,
            n_discard=self.wanted.n_discard,
            progress=self.wanted.stream and self.wanted.return_progress,
            report_memory=self.wanted.report_memory,
            key=self._key,
        )
        self._by_id[id] = choice
        self._ledger = server.ledger
        server.ledger.note_start(id, choice)

    def _choice(self, server: Serving, prompt: list[int], sampling: SamplingParams) -> Choice:
        index, reading = len(self._by_id), self._reading
        wanted = replace(self.wanted, sampling=sampling)
        if reading is None:
            pieces = pieces_of(server, wanted.preserved)
            return Choice(index, prompt, wanted, pieces, server.all_pieces)
        reader = reading.reader(stream=wanted.stream)
        return Choice(index, prompt, wanted, reading.pieces, server.all_pieces, reader)

    def feed(self, output: Output) -> tuple[Choice, Delta]:
        """One output into its choice; a choice that ends itself is cancelled on the engine."""
        choice = self._by_id[output.id]
        delta = choice.feed(output)
        if choice.finished:
            self._ledger.note_end(output.id, choice)
            self.stream.cancel(output.id)
        return choice, delta


def pieces_of(server: Serving, preserved: frozenset[int]) -> Pieces:
    """How the text of an answer spells tokens."""
    if not preserved or server.settings.special:
        return server.pieces
    return Pieces(server.vocabulary, spelled=preserved)


def own_seed(sampling: SamplingParams, i: int) -> SamplingParams:
    """The i-th answer to one prompt draws other tokens than the first, as in llama-server."""
    if i == 0 or sampling.seed == DEFAULT_SEED:
        return sampling
    return sampling.with_changes(seed=(sampling.seed + i) & DEFAULT_SEED)


async def respond(
    request: Request,
    wanted: Generation,
    prompts: list[list[int]],
    format: Format,
    boundaries: tuple[int, ...] = (),
    reading: Reading | None = None,
) -> Response:
    """Run the prompts. `boundaries` are lengths of the prompt from which the next one is likely
    to go on; `reading` makes messages of the answers. Raises `ApiError` and `ServerError`."""
    server = serving(request)
    if server.settings.embeddings:
        raise ApiError(ONLY_EMBEDS, status=501)
    run = Run(server, wanted, prompts, request, boundaries, reading)
    if wanted.stream:
        return EventStream(run, format)
    async with watched(request.receive, run.stream):
        while not run.stream.done:
            for output in await run.stream.take():
                run.feed(output)
    if run.stream.closed:
        return Response(status_code=499)  # nobody reads it
    return json_response(format.whole(run.choices))


def owner_of(request: Request) -> str:
    """Whose request it is, for reports."""
    return f"{request.client.host}:{request.client.port}" if request.client else ""


@contextlib.asynccontextmanager
async def watched(receive: Receive, stream: RequestStream) -> AsyncIterator[None]:
    """Close the stream when the client disconnects, and in any case at the end."""
    watcher = asyncio.create_task(_close_on_disconnect(receive, stream.close))
    try:
        yield
    finally:
        watcher.cancel()
        stream.cancel_all()


async def _close_on_disconnect(receive: Receive, close: Callable[[], None]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    close()


def one_by_one(output: Output) -> Iterator[Output]:
    """An output as if each of its tokens had come alone: an event of a stream is a token."""
    for n in output.processed:
        yield Output(output.id, processed=[n], slot=output.slot)
    if output.processed:
        output = replace(output, processed=[])
    tokens, probs = output.tokens, output.logprobs
    n_alone = len(tokens) if output.finish == "error" else len(tokens) - 1
    if n_alone > 0:
        for i in range(n_alone):
            part = probs[i : i + 1]
            yield Output(
                output.id,
                tokens[i : i + 1],
                part,
                timings=output.timings,
                slot=output.slot,
                memory=output.memory,
            )
        output = replace(output, tokens=tokens[n_alone:], logprobs=probs[n_alone:])
    yield output


class EventStream(Response):
    """Server-sent events: one write for all that a step, or several, brought a client.

    Until the first write an error is a response of its own; after it, an event.
    """

    def __init__(self, run: Run, format: Format) -> None:
        self._run = run
        self._format = format
        self._started = False
        self._idle = True
        self.status_code = 200
        self.background = None
        # named here: starlette would add a charset, and the format has but one
        self.init_headers({"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        timer = self._ping_timer()
        try:
            async with watched(receive, self._run.stream):
                await self._send_all(send)
        finally:
            timer.cancel()

    async def _send_all(self, send: Send) -> None:
        try:
            while not self._run.stream.done:
                data = self._encode(await self._run.stream.take())
                if data:
                    await self._write(send, data)
            end = self._format.tail(self._run.choices)
        except ApiError as error:
            if not self._started:
                raise
            end = self._format.failure(error)
        await self._write(send, end, more=False)

    def _encode(self, outputs: list[Output]) -> bytes:
        if not outputs and self._idle:
            return PING
        self._idle = False
        return b"".join([event for output in outputs for event in self._events(output)])

    def _events(self, output: Output) -> Iterator[bytes]:
        for part in one_by_one(output):
            choice, delta = self._run.feed(part)
            yield self._event(part, choice, delta)
            if choice.finished:  # at a stop string, perhaps before the last token
                return

    def _event(self, output: Output, choice: Choice, delta: Delta) -> bytes:
        if output.processed:
            return self._format.progress(choice)
        data = b"" if delta.empty else self._format.partial(choice, delta)
        return data + self._format.last(choice) if choice.finished else data

    async def _write(self, send: Send, data: bytes, *, more: bool = True) -> None:
        if not self._started:
            self._started = True
            start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            await send(start)
        await send({"type": "http.response.body", "body": data, "more_body": more})

    def _ping_timer(self) -> PingTimer:
        return PingTimer(self._run.wanted.ping_interval_s, self._on_tick)

    def _on_tick(self) -> None:
        """Silent since the last tick: let the sender write a comment."""
        if self._idle:
            self._run.stream.nudge()
        self._idle = True


class PingTimer:
    """Calls back every `interval_s` seconds; never if that is not positive."""

    def __init__(self, interval_s: int, on_tick: Callable[[], None]) -> None:
        self._interval_s = interval_s
        self._on_tick = on_tick
        self._handle: asyncio.TimerHandle | None = None
        self._arm()

    def _arm(self) -> None:
        if self._interval_s > 0:
            loop = asyncio.get_running_loop()
            self._handle = loop.call_later(self._interval_s, self._tick)

    def _tick(self) -> None:
        self._on_tick()
        self._arm()

    def cancel(self) -> None:
        """Stop."""
        if self._handle is not None:
            self._handle.cancel()
