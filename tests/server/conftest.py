"""A server around a fake engine: everything but the engine itself is real.

The fake runs in a thread behind a real pipe, as the engine loop does in tests
of its own. What it answers to a prompt is a list of steps, each a list of
tokens; `hold` makes it step only when told to.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import httpx
from fastapi import FastAPI

from pannier.errors import ChatError
from pannier.server.app import create_app
from pannier.server.client import EngineClient
from pannier.server.messages import (
    Answer,
    Cancel,
    Failed,
    Output,
    Query,
    Ready,
    Shutdown,
    StepOutputs,
    Submit,
    Timings,
    TokenLogprob,
)
from pannier.server.state import ServerSettings

BOS, EOS = 256, 257
SPECIAL = {BOS: b"<s>", EOS: b"</s>"}
N_CTX_SLOT = 64
N_SLOTS = 3

Reply = Callable[[Submit], Iterable[list[int]] | Output]


@dataclass(frozen=True)
class FakePrompt:
    prompt: str
    stops: tuple[str, ...] = ()


class FakeVocabulary:
    """One token for each byte, and two control tokens."""

    bos = BOS
    eos = EOS
    n_vocab = 258
    n_ctx_train = 4096
    size_bytes = 1000
    n_params = 500
    chat_template = "{{ fake }}"
    stops: tuple[str, ...] = ()

    @property
    def metadata(self) -> dict[str, str]:
        return {
            "general.architecture": "fake",
            "fake.embedding_length": "16",
            "tokenizer.ggml.model": "gpt2",
        }

    def tokenize(self, text: str | bytes, *, add_special: bool, parse_special: bool) -> list[int]:
        data = text.encode() if isinstance(text, str) else text
        head = [BOS] if add_special else []
        parts = data.split(b"<s>") if parse_special else [data]
        tokens = list(parts[0])
        for part in parts[1:]:
            tokens += [BOS, *part]
        return head + tokens

    def piece(self, token: int, *, special: bool = False) -> bytes:
        if token in SPECIAL:
            return SPECIAL[token] if special else b""
        return bytes([token])

    def apply_chat_template(
        self,
        messages: list[dict[str, Any]],
        *,
        add_generation_prompt: bool = True,
        chat_template_kwargs: dict[str, Any] | None = None,
    ) -> FakePrompt:
        lines = []
        for message in messages:
            if message["role"] not in ("system", "user", "assistant"):
                raise ChatError(f"unknown role {message['role']!r}; use user or assistant")
            content = message.get("content") or ""
            if isinstance(content, list):
                content = "".join(part["text"] for part in content)
            lines.append(f"{message['role'][0]}:{content}")
        for key, value in (chat_template_kwargs or {}).items():
            lines.append(f"{key}={value}")
        if add_generation_prompt:
            lines.append("a:")
        return FakePrompt("\n".join(lines), self.stops)


def steps(*pieces: str | bytes) -> list[list[int]]:
    """One step for each piece."""
    return [list(p.encode() if isinstance(p, str) else p) for p in pieces]


def letters(text: str) -> list[list[int]]:
    """One step for each byte."""
    return [[byte] for byte in text.encode()]


def endless(submit: Submit) -> Iterator[list[int]]:
    return ([ord("x")] for _ in itertools.count())


@dataclass
class Running:
    submit: Submit
    reply: Iterator[list[int]]
    n: int = 0


@dataclass
class FakeEngine:
    """Answers with `reply(submit)`, one step of each running request at a time."""

    connection: Connection
    reply: Reply
    hold: bool = False
    fail_at_start: str = ""
    seen: list[Any] = field(default_factory=list)
    n_steps: int = 0

    def __post_init__(self) -> None:
        self._running: dict[int, Running] = {}
        self._allowed = threading.Semaphore(0)
        self._outputs: list[Output] = []
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    def step(self, n: int = 1) -> None:
        """Allow steps, where they are held."""
        for _ in range(n):
            self._allowed.release()

    def stop(self) -> None:
        self._thread.join(10)
        assert not self._thread.is_alive()

    def of(self, kind: type) -> list[Any]:
        """The messages of this kind that came so far."""
        return [message for message in self.seen if isinstance(message, kind)]

    def _loop(self) -> None:
        if self.fail_at_start:
            self.connection.send(Failed(self.fail_at_start))
            self.connection.close()
            return
        facts = {"ftype": "Q8_0"}
        self.connection.send(Ready(256, N_CTX_SLOT, N_SLOTS, 32, 0.0, facts))
        with contextlib.suppress(EOFError, OSError):
            while self._receive():
                self._step()
        self.connection.close()

    def _receive(self) -> bool:
        busy = bool(self._running) and not self.hold
        while self.connection.poll(0 if busy else 0.002):
            message = self.connection.recv()
            self.seen.append(message)
            if isinstance(message, Shutdown):
                return False
            self._take(message)
            busy = True
        return True

    def _take(self, message: Any) -> None:
        if isinstance(message, Submit):
            reply = self.reply(message)
            if isinstance(reply, Output):
                reply.id = message.id
                self._outputs.append(reply)
            else:
                self._running[message.id] = Running(message, iter(reply))
        elif isinstance(message, Cancel):
            if self._running.pop(message.id, None):
                self._outputs.append(Output(message.id, finish="cancelled"))
        elif isinstance(message, Query):
            self.connection.send(Answer(message.id, self._report(message.kind)))

    def _report(self, kind: str) -> Any:
        if kind == "slots":
            n = len(self._running)
            return [{"id": i, "is_processing": i < n} for i in range(N_SLOTS)]
        return {"devices": [], "clients": [{"id": id} for id in sorted(self._running)]}

    def _step(self) -> None:
        if self.hold and not self._allowed.acquire(blocking=False):
            stepping: list[Running] = []
        else:
            stepping = list(self._running.values())
            self.n_steps += bool(stepping)
        outputs = self._outputs + [self._next(running) for running in stepping]
        self._outputs = []
        if outputs:
            self.connection.send(StepOutputs(outputs))

    def _next(self, running: Running) -> Output:
        submit = running.submit
        tokens = next(running.reply, None)
        output = Output(submit.id, tokens or [], slot=submit.id % N_SLOTS)
        running.n += len(output.tokens)
        if tokens is None:
            output.finish = "eos"
            running.n += 1
        elif running.n == submit.max_tokens:
            output.finish = "length"
        if submit.n_probs:
            output.logprobs = [
                TokenLogprob(t, -0.5, tuple((t + i, -0.5 - i) for i in range(submit.n_probs)))
                for t in output.tokens
            ]
        if output.finish:
            del self._running[submit.id]
            output.timings = Timings(len(submit.prompt) - 2, 0.25, running.n, 0.5, 0.125, 2)
        return output


@dataclass
class World:
    app: FastAPI
    http: httpx.AsyncClient
    engine: FakeEngine
    client: EngineClient


@contextlib.asynccontextmanager
async def serving(
    reply: Reply | list[list[int]], *, hold: bool = False, **settings: Any
) -> AsyncIterator[World]:
    """The whole HTTP side in this event loop, on a fake engine."""
    ours, theirs = Pipe(duplex=True)
    answer = reply if callable(reply) else lambda submit: reply
    engine = FakeEngine(theirs, answer, hold)
    client = EngineClient(ours)
    await client.start()
    vocabulary = settings.pop("vocabulary", None) or FakeVocabulary()
    app = create_app(client, vocabulary, ServerSettings(model_path="dir/m.gguf", **settings))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        yield World(app, http, engine, client)
    await client.close()
    ours.close()
    engine.stop()


def events(body: bytes) -> list[Any]:
    """The data of server-sent events; the mark of the end stays text."""
    found = []
    for block in body.decode().split("\n\n"):
        if block and block != ":":
            assert block.startswith("data: "), block
            data = block.removeprefix("data: ")
            found.append(data if data == "[DONE]" else json.loads(data))
    return found


class Visitor:
    """A client at the level of ASGI, which can read as it goes and leave when it likes."""

    def __init__(self, app: FastAPI, path: str, body: dict[str, Any]) -> None:
        self._app = app
        self._scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
            "scheme": "http",
        }
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._inbox.put_nowait({"type": "http.request", "body": json.dumps(body).encode()})
        self.sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.task = asyncio.create_task(self._app(self._scope, self._inbox.get, self.sent.put))

    def leave(self) -> None:
        self._inbox.put_nowait({"type": "http.disconnect"})
