"""A server around a fake engine: everything but the engine itself is real.

The fake runs in a thread behind a real pipe, as the engine loop does in tests
of its own. What it answers to a prompt is a list of steps, each a list of
tokens; `hold` makes it step only when told to. It can be ended at any moment;
the server then starts another, as it does with a process.
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

from pannier.chat import ChatFacts, ChatPrompt
from pannier.errors import ChatError
from pannier.fim import FimTokens
from pannier.server.app import create_app
from pannier.server.client import EngineClient
from pannier.server.messages import (
    Answer,
    Cancel,
    Embed,
    Failed,
    Output,
    Query,
    Ready,
    Shutdown,
    Started,
    StepOutputs,
    Submit,
    Timings,
    TokenLogprob,
)
from pannier.server.process import Ending
from pannier.server.settings import ServerSettings

BOS, EOS = 256, 257
SPECIAL = {BOS: b"<s>", EOS: b"</s>"}
N_CTX_SLOT = 64
N_SLOTS = 3
N_UBATCH = 48

Reply = Callable[[Any], Iterable[list[int]] | Output]


def chat_prompt(prompt: str, stops: tuple[str, ...] = ()) -> ChatPrompt:
    """A rendered conversation whose answer is text."""
    return ChatPrompt(prompt, stops, "", "Content-only", "", False, (), frozenset(), "", ())


class FakeVocabulary:
    """One token for each byte, and two control tokens."""

    bos = BOS
    eos = EOS
    sep = -1
    add_bos = True
    add_eos = False
    add_sep = False
    fim = FimTokens()
    eog_tokens = frozenset({EOS})
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

    @property
    def chat_facts(self) -> ChatFacts:
        return ChatFacts("{{ fake }}", "", {}, True)

    def render_chat(self, request: dict[str, Any]) -> tuple[ChatPrompt, None]:
        lines = []
        for message in request["messages"]:
            if message["role"] not in ("system", "user", "assistant"):
                raise ChatError(f"unknown role {message['role']!r}; use user or assistant")
            content = message.get("content") or ""
            if isinstance(content, list):
                content = "".join(part["text"] for part in content)
            lines.append(f"{message['role'][0]}:{content}")
        for key, value in request["chat_template_kwargs"].items():
            lines.append(f"{key}={value}")
        if not request["enable_thinking"]:
            lines.append("quiet")
        if request["add_generation_prompt"]:
            lines.append("a:")
        return chat_prompt("\n".join(lines), self.stops), None


def steps(*pieces: str | bytes) -> list[list[int]]:
    """One step for each piece."""
    return [list(p.encode() if isinstance(p, str) else p) for p in pieces]


def letters(text: str) -> list[list[int]]:
    """One step for each byte."""
    return [[byte] for byte in text.encode()]


def endless(submit: Submit) -> Iterator[list[int]]:
    return ([ord("x")] for _ in itertools.count())


def after(reply: Iterator[list[int]], n: int) -> Iterator[list[int]]:
    """What follows the first n tokens."""
    for tokens in reply:
        rest, n = tokens[n:], max(0, n - len(tokens))
        if rest or not tokens:
            yield rest


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
    may_load: threading.Event | None = None
    pooling: str = ""
    """Of one that embeds."""
    mute: bool = False
    """Takes messages and says nothing, like a process that was stopped."""
    seen: list[Any] = field(default_factory=list)
    n_steps: int = 0

    def __post_init__(self) -> None:
        self._running: dict[int, Running] = {}
        self._ending = False
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

    def end(self) -> None:
        """End between two steps, with no word to the other side."""
        self._ending = True
        self.stop()

    def of(self, kind: type) -> list[Any]:
        """The messages of this kind that came so far."""
        return [message for message in self.seen if isinstance(message, kind)]

    def _loop(self) -> None:
        if self.fail_at_start:
            self.connection.send(Failed(self.fail_at_start))
            self.connection.close()
            return
        if self.may_load is not None:
            self.may_load.wait(60)
        facts = {
            "ftype": "Q8_0",
            "pooling": self.pooling,
            "n_ubatch": N_UBATCH,
            "n_embed_max": N_UBATCH,
        }
        with contextlib.suppress(EOFError, OSError):
            self.connection.send(Ready(256, N_CTX_SLOT, N_SLOTS, 32, 0.0, facts))
            while self._receive():
                self._step()
        self.connection.close()

    def _receive(self) -> bool:
        if self._ending:
            return False
        busy = bool(self._running) and not self.hold
        while self.connection.poll(0 if busy else 0.002):
            message = self.connection.recv()
            self.seen.append(message)
            if isinstance(message, Shutdown):
                return False
            if not self.mute:
                self._take(message)
            busy = True
        return True

    def _take(self, message: Any) -> None:
        if isinstance(message, (Submit, Embed)):
            reply = self.reply(message)
            if isinstance(reply, Output):
                reply.id = message.id
                self._outputs.append(reply)
            else:
                n = len(message.generated)
                self._running[message.id] = Running(message, after(iter(reply), n), n)
                self.connection.send(Started((message.id,)))
                if message.progress:
                    n = len(message.prompt)
                    self._outputs.append(Output(message.id, processed=[1, n], slot=0))
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
        if submit.report_memory:
            output.memory = {"now_bytes": 10 * running.n, "peak_bytes": 100 - running.n}
        if output.finish:
            del self._running[submit.id]
            output.timings = Timings(len(submit.prompt) - 2, 0.25, running.n, 0.5, 0.125, 2)
        return output


@dataclass
class FakeChild:
    """A fake engine as the server sees the process that it started."""

    connection: Connection
    engine: FakeEngine
    ending: Ending

    def kill(self) -> None:
        self.engine.end()

    def bury(self) -> Ending:
        self.connection.close()
        self.engine.end()
        return self.ending


@dataclass
class FakeEngines:
    """Starts one fake engine after the other."""

    reply: Reply
    hold: bool = False
    fail_at_start: str = ""
    pooling: str = ""
    may_load: threading.Event = field(default_factory=threading.Event)
    ending: Ending = field(default_factory=lambda: Ending("by SIGKILL"))
    started: list[FakeEngine] = field(default_factory=list)
    children: list[FakeChild] = field(default_factory=list)

    def __call__(self) -> FakeChild:
        ours, theirs = Pipe(duplex=True)
        engine = FakeEngine(
            theirs, self.reply, self.hold, self.fail_at_start, self.may_load, self.pooling
        )
        self.started.append(engine)
        self.children.append(FakeChild(ours, engine, self.ending))
        return self.children[-1]

    def close(self) -> None:
        for child in self.children:
            child.bury()


@dataclass
class World:
    app: FastAPI
    http: httpx.AsyncClient
    engines: FakeEngines
    client: EngineClient

    @property
    def engine(self) -> FakeEngine:
        """The last one that was started."""
        return self.engines.started[-1]


@contextlib.asynccontextmanager
async def serving(
    reply: Reply | list[list[int]],
    *,
    hold: bool = False,
    hang_timeout_s: float = 0,
    **settings: Any,
) -> AsyncIterator[World]:
    """The whole HTTP side in this event loop, on a fake engine."""
    answer = reply if callable(reply) else lambda submit: reply
    engines = FakeEngines(answer, hold, pooling=settings.pop("pooling", ""))
    engines.may_load.set()
    client = EngineClient(engines, hang_timeout_s=hang_timeout_s)
    await client.start()
    vocabulary = settings.pop("vocabulary", None) or FakeVocabulary()
    app = create_app(client, vocabulary, ServerSettings(model_path="dir/m.gguf", **settings))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        yield World(app, http, engines, client)
    await client.close()
    engines.close()


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

    def __init__(
        self,
        app: FastAPI,
        path: str,
        body: dict[str, Any],
        *,
        method: str = "POST",
        query: bytes = b"",
    ) -> None:
        self._app = app
        self._scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query,
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
