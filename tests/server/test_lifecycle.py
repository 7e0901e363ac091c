"""Clients that leave, servers that stop, pings on silent streams."""

from __future__ import annotations

import asyncio
import json
from multiprocessing import Pipe
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pannier.errors import ServerError
from pannier.sampling import SamplingParams
from pannier.server.client import EngineClient
from pannier.server.link import Engine
from pannier.server.messages import Cancel, Ready, Submit

from .conftest import FakeEngines, Visitor, World, endless, events, serving, steps

PATHS = [
    "/completion",
    "/v1/completions",
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/messages",
]


def body(stream: bool, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "a"}]
    return {"prompt": "a", "input": "a", "messages": messages, "stream": stream, **more}


async def until_submitted(world: World, n: int) -> None:
    while len(world.engine.of(Submit)) < n:
        await asyncio.sleep(0)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_is_cancelled_within_a_step(path: str, stream: bool) -> None:
    async def run() -> None:
        async with serving(endless, hold=True) as world:
            visitor = Visitor(world.app, path, body(stream))
            await until_submitted(world, 1)
            world.engine.step()
            while world.engine.n_steps < 1:
                await asyncio.sleep(0)
            if stream:
                assert (await visitor.sent.get())["type"] == "http.response.start"
                assert b"x" in (await visitor.sent.get())["body"]
            visitor.leave()
            await visitor.task
            # The slot report is asked after the cancel; no step was allowed in between.
            n_steps = world.engine.n_steps
            slots = await world.client.query("slots")
            assert [m.id for m in world.engine.of(Cancel)] == [1]
            assert not any(slot["is_processing"] for slot in slots)
            assert world.engine.n_steps == n_steps <= 1

    asyncio.run(run())


def test_all_answers_of_a_request_are_cancelled() -> None:
    async def run() -> None:
        async with serving(endless, hold=True) as world:
            visitor = Visitor(world.app, "/completion", body(True, n=3))
            await until_submitted(world, 3)
            visitor.leave()
            await visitor.task
            await world.client.query("slots")
            assert sorted(m.id for m in world.engine.of(Cancel)) == [1, 2, 3]

    asyncio.run(run())


def test_a_finished_request_is_not_cancelled() -> None:
    async def run() -> None:
        async with serving(steps("ok")) as world:
            for stream in (False, True):
                await world.http.post("/completion", json=body(stream))
            await world.client.query("slots")
            assert world.engine.of(Cancel) == []

    asyncio.run(run())


def test_clients_do_not_mix() -> None:
    """Many at once: each gets its own prompt back, whole."""

    def echo(submit: Submit) -> list[list[int]]:
        return [[token] for token in submit.prompt[1:]]

    async def run() -> None:
        async with serving(echo) as world:
            texts = [f"client {i} says {'x' * (i % 7)}" for i in range(40)]
            answers = await asyncio.gather(
                *(
                    world.http.post("/completion", json={"prompt": text, "stream": i % 2 == 0})
                    for i, text in enumerate(texts)
                )
            )
            for i, (text, answer) in enumerate(zip(texts, answers, strict=True)):
                parts = events(answer.content) if i % 2 == 0 else [answer.json()]
                assert "".join(part["content"] for part in parts) == text

    asyncio.run(run())


def test_a_silent_stream_is_pinged() -> None:
    async def run() -> None:
        async with serving(endless, hold=True) as world:
            visitor = Visitor(world.app, "/completion", body(True, sse_ping_interval=1))
            assert (await visitor.sent.get())["type"] == "http.response.start"
            assert (await visitor.sent.get())["body"] == b":\n\n"
            visitor.leave()
            await visitor.task

    asyncio.run(run())


def test_the_engine_cannot_start() -> None:
    async def run() -> None:
        engines = FakeEngines(lambda submit: [], fail_at_start="no such file: m.gguf")
        client = EngineClient(engines)
        with pytest.raises(ServerError, match=r"no such file: m\.gguf"):
            await client.start()
        assert not client.alive
        await client.close()
        assert len(engines.started) == 1
        engines.close()

    asyncio.run(run())


def test_closing_ends_running_streams() -> None:
    async def run() -> None:
        async with serving(endless, hold=True) as world:
            visitor = Visitor(world.app, "/completion", body(True))
            await until_submitted(world, 1)
            world.engine.step()
            await visitor.sent.get()
            await world.client.close()
            await visitor.task
            with pytest.raises(ServerError, match="shutting down"):
                await world.client.query("slots")

    asyncio.run(run())


@pytest.mark.parametrize(
    ("path", "head", "fields"),
    [
        ("/v1/chat/completions", b"data: ", ["error"]),
        ("/v1/responses", b"data: ", ["error"]),
        ("/v1/messages", b"event: error\ndata: ", ["code", "message", "type"]),
    ],
)
def test_a_stream_that_fails_ends_with_the_error(path: str, head: bytes, fields: list[str]) -> None:
    async def run() -> bytes:
        async with serving(endless, hold=True) as world:
            visitor = Visitor(world.app, path, body(True))
            await until_submitted(world, 1)
            world.engine.step()
            for _ in ("start", "first events"):
                await visitor.sent.get()
            await world.client.close()
            await visitor.task
            sent = b""
            while not visitor.sent.empty():
                sent += (await visitor.sent.get())["body"]
            return sent

    sent = asyncio.run(run())
    assert sent.startswith(head)
    assert list(json.loads(sent.removeprefix(head))) == fields


def test_a_long_prompt_does_not_stall_the_loop() -> None:
    """The pipe is smaller than this prompt, and nobody reads it yet."""

    async def run() -> None:
        ours, theirs = Pipe(duplex=True)
        client = EngineClient(lambda: cast(Engine, SimpleNamespace(connection=ours, kill=None)))
        starting = asyncio.create_task(client.start())
        await asyncio.sleep(0)
        theirs.send(Ready(10**6, 10**6, 1, 32, 0.0))
        await starting
        with client.stream() as stream:
            stream.submit([123456] * 500_000, SamplingParams())
            received = await asyncio.to_thread(theirs.recv)
            assert len(received.prompt) == 500_000
        assert isinstance(await asyncio.to_thread(theirs.recv), Cancel)
        await client.close()
        theirs.close()
        ours.close()

    asyncio.run(run())
