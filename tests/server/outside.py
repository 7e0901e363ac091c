"""A server on real sockets around a fake engine, and clients that speak bytes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from pannier.server.app import create_app
from pannier.server.client import EngineClient
from pannier.server.http_settings import HttpSettings
from pannier.server.listener import Listener
from pannier.server.serve import HttpServer, uvicorn_config
from pannier.server.settings import ServerSettings

from .conftest import FakeEngines, FakeVocabulary, Reply, steps


@dataclass
class Answer:
    """Status, headers by their lower-case names, body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> Any:
        """The object under `error`."""
        return json.loads(self.body)["error"]


@dataclass
class Outside:
    """What a stranger on the network has."""

    listener: Listener

    async def connect(
        self, n: int = 0, tls: ssl.SSLContext | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """To the n-th address."""
        where = self.listener.sockets[n].getsockname()
        if isinstance(where, str):
            return await asyncio.open_unix_connection(where)
        return await asyncio.open_connection(*where[:2], ssl=tls)

    async def send(self, data: bytes, n: int = 0, tls: ssl.SSLContext | None = None) -> bytes:
        """Send bytes; everything that comes until the server closes."""
        reader, writer = await self.connect(n, tls)
        writer.write(data)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        try:
            return await asyncio.wait_for(read_all(reader), 20)
        finally:
            writer.close()

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        **where: Any,
    ) -> Answer:
        """One request on a connection of its own."""
        lines = [f"{method} {path} HTTP/1.1", "Host: a", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        head = "\r\n".join([*lines, "", ""]).encode("utf-8")
        return parsed(await self.send(head + body, **where))


async def read_all(reader: asyncio.StreamReader) -> bytes:
    data = b""
    with contextlib.suppress(ConnectionError):
        while chunk := await reader.read(65536):
            data += chunk
    return data


def parsed(data: bytes) -> Answer:
    """The first answer in what came."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return Answer(int(first.split()[1]), headers, body)


@contextlib.asynccontextmanager
async def outside(
    http: HttpSettings, reply: Reply | None = None, **settings: Any
) -> AsyncIterator[Outside]:
    """Everything but the engine is real."""
    engines = FakeEngines(reply or (lambda submit: steps("ok")))
    engines.may_load.set()
    client = EngineClient(engines)
    await client.start()
    app = create_app(
        client, FakeVocabulary(), ServerSettings(model_path="m.gguf", **settings), http
    )
    with Listener(http) as listener:
        server = HttpServer(uvicorn_config(app, listener))
        serving = asyncio.create_task(server.serve(list(listener.sockets)))
        try:
            while not server.started:
                await asyncio.sleep(0.01)
            yield Outside(listener)
        finally:
            await client.close()
            server.should_exit = True
            await serving
            engines.close()
