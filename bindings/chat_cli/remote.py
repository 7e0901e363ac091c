"""Replies from a server: pannier's, llama-server, or any other with OpenAI's chat endpoint."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from ..errors import ArgumentError, RequestError, ServerError
from ..moe_cache import MoeCounts
from .session import Finish, Message, Reply, ReplyEnd

CONNECT_S = 10.0
ASK_S = 5.0
"""For what is nice to know."""
Json = dict[str, Any]
EXPERT_COUNTS = {
    "hits": "n_hits",
    "misses": "n_misses",
    "uploaded_bytes": "uploaded_bytes",
    "wait_seconds": "wait_s",
    "upload_seconds": "upload_s",
}
"""`MoeCounts` by the fields of `/memory`."""


def is_url(text: str | None) -> bool:
    """An address of a server and no file."""
    return text is not None and text.startswith(("http://", "https://"))


class Server:
    """Where a server is, and what it is asked with."""

    def __init__(self, url: str, api_key: str = "") -> None:
        self.url = url.rstrip("/")
        parts = urlsplit(self.url)
        try:
            self._host, self._port = parts.hostname or "", parts.port
        except ValueError as error:
            raise ArgumentError(f"{url} is not an address: {error}") from error
        if not self._host:
            raise ArgumentError(f"{url} names no host; an address is http://127.0.0.1:9931")
        self._is_tls = parts.scheme == "https"
        self._prefix = parts.path.removesuffix("/v1")
        self._headers = {"Content-Type": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"

    def connect(self, timeout_s: float | None = None) -> http.client.HTTPConnection:
        """An open connection; None: an answer may take any time. Raises `ServerError`."""
        kind = http.client.HTTPSConnection if self._is_tls else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=timeout_s or CONNECT_S)
        try:
            connection.connect()
        except OSError as error:
            raise ServerError(f"cannot reach {self.url}: {error}") from error
        connection.sock.settimeout(timeout_s)
        return connection

    def ask(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: Any = None
    ) -> http.client.HTTPResponse:
        """The head of the answer. Raises `ServerError`, or `RequestError` for our own mistake."""
        data = None if body is None else json.dumps(body).encode()
        try:
            connection.request(method, self._prefix + path, data, self._headers)
            answer = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise ServerError(f"cannot reach {self.url}: {error}") from error
        if answer.status >= 400:
            kind = RequestError if answer.status in (400, 401, 403, 413) else ServerError
            with answer:
                raise kind(f"{self.url} answers {answer.status}: {_message(answer)}")
        return answer

    def get(self, path: str) -> Json:
        """What is nice to know; empty where the server does not say."""
        with contextlib.suppress(ServerError, RequestError, OSError, ValueError):
            with (
                contextlib.closing(self.connect(ASK_S)) as connection,
                self.ask(connection, "GET", path) as answer,
            ):
                found = json.loads(answer.read())
            return found if isinstance(found, dict) else {}
        return {}


def _message(answer: http.client.HTTPResponse) -> str:
    text = answer.read(4096).decode("utf-8", "replace")
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return str(json.loads(text)["error"]["message"])
    return text.strip() or answer.reason


class RemoteSpeaker:
    """Answers with a server. `options` are fields of each request."""

    def __init__(self, server: Server, options: Mapping[str, Any]) -> None:
        self._server = server
        self._options = dict(options)
        self._socket: socket.socket | None = None
        self._stopping = False
        settings = server.get("/props").get("default_generation_settings", {})
        self.n_ctx = int(settings.get("n_ctx", 0))
        self._memory = server.get("/memory")

    def reply(self, messages: Sequence[Message]) -> Reply:
        """Answer a conversation. Raises `ServerError` and `RequestError`."""
        body = {"messages": list(messages), "stream_options": {"include_usage": True}}
        return self._run("/v1/chat/completions", body)

    def complete(self, text: str) -> Reply:
        """Go on with a text. Raises `ServerError` and `RequestError`."""
        return self._run("/v1/completions", {"prompt": text})

    def stop(self) -> None:
        """End the reply that runs."""
        self._stopping = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    abort = stop

    def _run(self, path: str, body: Json) -> Reply:
        self._stopping = False
        before = self._experts()
        connection = self._server.connect()
        self._socket = connection.sock
        heard = Heard()
        try:
            request = {**self._options, **body, "stream": True}
            with self._server.ask(connection, "POST", path, request) as answer:
                for chunk in events(answer):
                    text = heard.take(chunk)
                    if text:
                        yield text
        except (OSError, http.client.HTTPException, ValueError, ServerError) as error:
            if not self._stopping:
                raise (
                    error
                    if isinstance(error, ServerError)
                    else ServerError(f"{self._server.url} broke off: {error}")
                ) from error
        finally:
            connection.close()
            self._socket = None
        if self._stopping:
            heard.finish = "interrupted"
        elif not heard.finish:
            raise ServerError(f"{self._server.url} broke off: the stream has no end")
        return self._end(heard, self._experts_since(before))

    def _experts(self) -> MoeCounts | None:
        """What a pannier server's cache of experts has done so far, for all its clients."""
        if not self._memory.get("experts"):
            return None
        counts = self._server.get("/memory").get("experts") or {}
        fields = {name: counts.get(key, 0) for name, key in EXPERT_COUNTS.items()}
        return MoeCounts(**fields)

    def _experts_since(self, before: MoeCounts | None) -> MoeCounts | None:
        now = self._experts() if before else None
        return now - before if now and before and now.hits >= before.hits else None

    def _end(self, heard: Heard, experts: MoeCounts | None) -> ReplyEnd:
        n_prompt = int(heard.usage.get("prompt_tokens") or heard.timings.get("prompt_n") or 0)
        n_tokens = int(heard.usage.get("completion_tokens", heard.n_chunks))
        return ReplyEnd(
            text="".join(heard.texts),
            finish=heard.finish or "stop",
            n_prompt=n_prompt,
            n_reused=int(heard.timings.get("cache_n", 0)),
            n_tokens=n_tokens,
            n_ctx=self.n_ctx,
            tokens_per_s=heard.rate(n_tokens),
            memory_bytes=heard.memory_bytes or self._bytes_of(n_prompt + n_tokens),
            experts=experts,
        )

    def _bytes_of(self, n_tokens: int) -> int:
        """What a sequence of so many tokens holds on a pannier server; 0 elsewhere."""
        cells = self._memory.get("kv", {}).get("cell_bytes", 0)
        state = self._memory.get("recurrent_seq_bytes", 0)
        return int(cells) * n_tokens + int(state)


class Heard:
    """What came of a reply so far."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.finish: Finish | None = None
        self.usage: Json = {}
        self.timings: Json = {}
        self.memory_bytes = 0
        self.n_chunks = 0
        self._first_s = self._last_s = 0.0

    def take(self, chunk: Json) -> str:
        """The text of one event. Raises `ServerError` for an error."""
        if "error" in chunk:
            error = chunk["error"]
            raise ServerError(
                str(error.get("message", error) if isinstance(error, dict) else error)
            )
        self.usage = chunk.get("usage") or self.usage
        self.timings = chunk.get("timings") or self.timings
        self.memory_bytes = (chunk.get("memory") or {}).get("total_bytes", self.memory_bytes)
        text = ""
        for choice in chunk.get("choices", ()):
            text += (choice.get("delta") or {}).get("content") or choice.get("text") or ""
            if choice.get("finish_reason"):
                self.finish = "length" if choice["finish_reason"] == "length" else "stop"
        if text:
            self._last_s = time.perf_counter()
            self._first_s = self._first_s or self._last_s
            self.n_chunks += 1
            self.texts.append(text)
        return text

    def rate(self, n_tokens: int) -> float | None:
        """Tokens per second: the server's figure, or what was seen."""
        told = self.timings.get("predicted_per_second")
        if isinstance(told, (int, float)):
            return float(told)
        seconds = self._last_s - self._first_s
        return (n_tokens - 1) / seconds if seconds > 0 else None


def events(lines: Iterator[bytes] | http.client.HTTPResponse) -> Iterator[Json]:
    """The objects of server-sent events. Raises `ValueError` for what is no JSON."""
    for line in lines:
        if line.startswith(b"data:"):
            data = line.removeprefix(b"data:").strip()
            if data == b"[DONE]":
                return
            yield json.loads(data)
