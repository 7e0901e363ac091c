"""Messages of any size, on the event loop that serves."""

from __future__ import annotations

import asyncio
import threading
import time
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import uvloop

from pannier.sampling import SamplingParams
from pannier.server.link import Link
from pannier.server.messages import Answer, Submit
from pannier.server.process import Ending

LARGE = 1_000_000
"""Far more than the connection holds at once."""


class FakeEngine:
    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def kill(self) -> None: ...

    def bury(self) -> Ending:
        return Ending("")


def test_a_message_that_comes_in_parts() -> None:
    async def run() -> list[Any]:
        ours, theirs = Pipe()
        found: list[Any] = []
        link = Link(FakeEngine(ours), found.append)
        threading.Thread(target=theirs.send, args=(Answer(1, bytes(LARGE)),), daemon=True).start()
        while not found and not link.ended.done():
            await asyncio.sleep(0.001)
        link.close()
        return found

    [answer] = uvloop.run(run())
    assert len(answer.report) == LARGE


def test_a_message_that_has_to_wait() -> None:
    async def run() -> Submit:
        ours, theirs = Pipe()
        link = Link(FakeEngine(ours), lambda message: None)
        link.send(Submit(1, [7] * LARGE, SamplingParams()))
        link.send(Submit(2, [7], SamplingParams()))
        time.sleep(0.05)  # nobody reads, and the connection is full
        submit: Submit = await asyncio.to_thread(theirs.recv)
        assert (await asyncio.to_thread(theirs.recv)).id == 2
        link.close()
        return submit

    assert len(uvloop.run(run()).prompt) == LARGE
