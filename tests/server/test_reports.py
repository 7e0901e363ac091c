"""The engine's reports."""

from __future__ import annotations

import asyncio

import pytest

from pannier.server.http_settings import HttpSettings
from pannier.server.messages import Query

from .conftest import N_SLOTS, Visitor, endless, serving
from .outside import Answer, outside
from .test_lifecycle import body, until_submitted


def test_slots_and_memory() -> None:
    async def run() -> None:
        async with serving(endless, hold=True) as world:
            visitors = [Visitor(world.app, "/completion", body(False)) for _ in range(N_SLOTS)]
            await until_submitted(world, N_SLOTS)
            slots = (await world.http.get("/slots")).json()
            assert [slot["is_processing"] for slot in slots] == [True] * N_SLOTS
            busy = await world.http.get("/slots?fail_on_no_slot=1")
            assert (busy.status_code, busy.json()["error"]["message"]) == (503, "no slot available")
            memory = (await world.http.get("/memory")).json()
            assert memory["clients"] == [{"id": i, "client": "127.0.0.1:1"} for i in (1, 2, 3)]
            for visitor in visitors:
                visitor.leave()
                await visitor.task
            assert (await world.http.get("/slots?fail_on_no_slot=1")).status_code == 200
            assert (await world.http.get("/memory")).json()["clients"] == []

    asyncio.run(run())


# ---------------------------------------------------------------- /memory/stream


def listen(query: str, *, method: str = "GET", **settings: object) -> Answer:
    async def run() -> Answer:
        async with outside(HttpSettings(port=0), **settings) as server:
            return await server.ask(method, f"/memory/stream{query}")

    return asyncio.run(run())


def test_reports_come_again_and_again() -> None:
    answer = listen("?n=3&interval=100")
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.body.count(b'data: {"devices":[],"clients":[]}\n\n') == 3
    assert listen("?n=1").body.count(b"data: ") == 1
    assert listen("", method="HEAD").body == b""


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("?interval=99", "interval"),
        ("?interval=60001", "interval"),
        ("?interval=x", "interval"),
        ("?interval=" + "9" * 40, "interval"),
        ("?n=-1", "n"),
        ("?n=1.5", "n"),
    ],
)
def test_what_cannot_be_asked_of_the_stream(query: str, field: str) -> None:
    answer = listen(query)
    assert answer.status == 400
    assert f"'{field}'" in answer.error["message"]


def test_nobody_asks_the_engine_once_the_listener_is_gone() -> None:
    async def run() -> None:
        async with serving(endless) as world:
            queries = world.engine.of(Query)
            visitor = Visitor(world.app, "/memory/stream", {}, method="GET", query=b"interval=100")
            while len(world.engine.of(Query)) < 2:
                await asyncio.sleep(0.01)
            visitor.leave()
            await visitor.task
            asked = len(world.engine.of(Query))
            await asyncio.sleep(0.3)
            assert len(world.engine.of(Query)) == asked > len(queries) == 0

    asyncio.run(run())


def test_the_stream_ends_with_the_server() -> None:
    async def run() -> None:
        async with serving(endless) as world:
            visitor = Visitor(
                world.app, "/memory/stream", {}, method="GET", query=b"interval=60000"
            )
            while world.engine.of(Query) == []:
                await asyncio.sleep(0.01)
            await world.client.close()
            await visitor.task
            said = b"".join(m.get("body", b"") for m in visitor.sent._queue)  # type: ignore[attr-defined]
            assert b'data: {"error":{"code":503,"message":"the server is shutting down"' in said

    asyncio.run(run())
