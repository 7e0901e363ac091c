"""The connection to an engine, under both event loops that a server may run in."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import pytest
import uvloop

from pannier.server.link import Link
from pannier.server.process import Ending

LONG = "x" * (4 << 20)
"""More than a pipe holds, so that both sides have to wait in the middle of it."""


@dataclass
class FakeEngine:
    connection: Connection

    def kill(self) -> None: ...

    def bury(self) -> Ending:
        self.connection.close()
        return Ending("with status 0")


def echo(connection: Connection) -> None:
    connection.send(connection.recv())
    connection.close()


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_long_messages_go_through(run: Any) -> None:
    async def talk() -> list[Any]:
        ours, theirs = Pipe(duplex=True)
        other = threading.Thread(target=echo, args=(theirs,))
        other.start()
        heard: list[Any] = []
        link = Link(FakeEngine(ours), heard.append)
        link.send(LONG)  # type: ignore[arg-type]
        await asyncio.wait_for(link.ended, 30)
        other.join()
        await asyncio.to_thread(link.bury)
        return heard

    assert run(talk()) == [LONG]
