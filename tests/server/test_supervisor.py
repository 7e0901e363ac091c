"""Engines that end while they work, and what their clients see of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from pannier.errors import ServerError
from pannier.server.messages import Cancel, Query, Ready, Submit
from pannier.server.process import Ending
from pannier.server.restarts import MAX_ENDS

from .conftest import FakeEngine, Visitor, World, endless, events, letters, serving
from .test_lifecycle import body, until_submitted

TEXT = "all of the text"


async def until(condition: Callable[[], Any]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


async def end(world: World) -> FakeEngine:
    """End the engine; returns the next one, which is ready."""
    n = len(world.engines.started)
    await asyncio.to_thread(world.engine.end)
    await until(lambda: len(world.engines.started) > n and world.client.alive)
    return world.engine


async def read(visitor: Visitor, n: int) -> None:
    """Take the start of the response and n pieces of its body."""
    for _ in range(n + 1):
        await visitor.sent.get()


def rest(visitor: Visitor) -> list[Any]:
    """The events that were not read."""
    sent = b""
    while not visitor.sent.empty():
        sent += visitor.sent.get_nowait()["body"]
    return events(sent)


def text(parts: list[Any]) -> str:
    return "".join(part["content"] for part in parts)


@pytest.mark.parametrize("options", [{"temperature": 0}, {"seed": 7}, {}])
def test_a_stream_goes_on_with_the_next_engine(options: dict[str, Any]) -> None:
    async def run() -> None:
        async with serving(letters(TEXT), hold=True) as world:
            visitor = Visitor(world.app, "/completion", body(True, **options))
            await until_submitted(world, 1)
            world.engine.step(3)
            await read(visitor, 3)
            engine = await end(world)
            await until(lambda: engine.of(Submit))
            engine.step(len(TEXT) + 1)
            await visitor.task
            assert text(rest(visitor)) == TEXT[3:]
            [again] = engine.of(Submit)
            assert again.id == 1
            assert again.generated == (() if "seed" in options else tuple(TEXT[:3].encode()))

    asyncio.run(run())


def test_whole_answers_and_waiting_questions_are_asked_again() -> None:
    async def run() -> None:
        async with serving(letters(TEXT), hold=True) as world:
            world.engine.mute = True
            whole = asyncio.create_task(world.http.post("/completion", json=body(False)))
            slots = asyncio.create_task(world.http.get("/slots"))
            await until(lambda: world.engine.of(Submit) and world.engine.of(Query))
            engine = await end(world)
            assert (await slots).status_code == 200
            engine.step(len(TEXT) + 1)
            answer = await whole
            assert (answer.status_code, answer.json()["content"]) == (200, TEXT)

    asyncio.run(run())


def test_what_comes_while_no_engine_runs_waits() -> None:
    """/health says so, /props is as before, and who leaves meanwhile is forgotten."""

    async def run() -> None:
        async with serving(letters(TEXT)) as world:
            world.engines.may_load.clear()
            await asyncio.to_thread(world.engine.end)
            await until(lambda: not world.client.alive)
            health = await world.http.get("/health")
            assert health.status_code == 503
            assert "being restarted" in health.json()["error"]["message"]
            assert health.json()["error"]["type"] == "unavailable_error"
            assert (await world.http.get("/props")).status_code == 200
            assert (await world.http.get("/v1/models")).status_code == 200
            left = Visitor(world.app, "/completion", body(False))
            stays = asyncio.create_task(world.http.post("/completion", json=body(False)))
            await until(lambda: world.client.owner(2))
            left.leave()
            await left.task
            world.engines.may_load.set()
            assert (await stays).json()["content"] == TEXT
            assert [submit.id for submit in world.engine.of(Submit)] == [2]
            assert (await world.http.get("/health")).json() == {"status": "ok"}

    asyncio.run(run())


def test_a_request_that_ran_at_two_ends_is_not_tried_again() -> None:
    """The one that came between the two is."""

    async def run() -> None:
        async with serving(endless, hold=True) as world:
            poison = asyncio.create_task(world.http.post("/completion", json=body(False)))
            await until_submitted(world, 1)
            engine = await end(world)
            await until(lambda: engine.of(Submit))
            other = Visitor(world.app, "/completion", body(True, n_predict=2))
            await until_submitted(world, 2)
            engine = await end(world)
            answer = await poison
            assert answer.status_code == 503
            message = answer.json()["error"]["message"]
            assert message.startswith("the engine ended by SIGKILL; it is the second that ended")
            await until(lambda: engine.of(Submit))
            engine.step(2)
            await other.task
            assert [submit.id for submit in engine.of(Submit)] == [2]

    asyncio.run(run())


def test_seeded_output_that_comes_out_otherwise_ends_with_an_error() -> None:
    texts = iter(["abcdef", "abXdef"])

    async def run() -> None:
        async with serving(lambda submit: letters(next(texts)), hold=True) as world:
            visitor = Visitor(world.app, "/completion", body(True, seed=7))
            await until_submitted(world, 1)
            world.engine.step(4)
            await read(visitor, 4)
            engine = await end(world)
            await until(lambda: engine.of(Submit))
            engine.step(3)
            await visitor.task
            [event] = rest(visitor)
            assert event["error"]["code"] == 503
            assert "came out differently" in event["error"]["message"]
            await world.client.query("slots")
            assert [cancel.id for cancel in engine.of(Cancel)] == [1]

    asyncio.run(run())


def test_a_silent_engine_is_asked_and_replaced() -> None:
    async def run() -> None:
        async with serving(letters(TEXT), hang_timeout_s=1.0) as world:
            hung = world.engine
            hung.mute = True
            answer = await world.http.post("/completion", json=body(False))
            assert answer.json()["content"] == TEXT
            assert [query.kind for query in hung.of(Query)] == ["alive"]
            assert world.engine is not hung

    asyncio.run(run())


def test_engines_that_end_in_a_row_stop_the_server(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with serving(endless, hold=True) as world:
            world.engines.fail_at_start = "out of memory"
            waits = asyncio.create_task(world.http.post("/completion", json=body(False)))
            await until_submitted(world, 1)
            world.engine.end()
            with pytest.raises(ServerError, match=f"out of memory, the last of {MAX_ENDS} in a"):
                await world.client.wait_stopped()
            assert (await waits).status_code == 503
            assert "out of memory" in (await waits).json()["error"]["message"]
            for path in ("/health", "/slots"):
                assert (await world.http.get(path)).status_code == 503
            assert (await world.http.post("/completion", json=body(False))).status_code == 503
            assert len(world.engines.started) == MAX_ENDS

    asyncio.run(run())
    said = caplog.text
    assert "the engine ended by SIGKILL; restarting, 1 request replayed" in said
    assert "out of memory; restarting, 0 requests replayed" in said


def test_last_words_are_told() -> None:
    async def run() -> None:
        async with serving(endless, hold=True) as world:
            world.engines.children[0].ending = Ending("by SIGABRT", "one\ntwo: assertion")
            world.engines.ending = Ending("by SIGABRT", "three\nfour: assertion")
            for _ in range(MAX_ENDS - 1):
                await end(world)
            await asyncio.to_thread(world.engine.end)
            with pytest.raises(ServerError, match=r"SIGABRT.*\nthree\nfour: assertion$"):
                await world.client.wait_stopped()

    asyncio.run(run())


def test_an_engine_of_another_shape_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with serving(endless) as world:
            monkeypatch.setattr("tests.server.conftest.N_CTX_SLOT", 32)
            await asyncio.to_thread(world.engine.end)
            with pytest.raises(ServerError, match=r"'n_ctx_slot': 32.*not.*'n_ctx_slot': 64"):
                await world.client.wait_stopped()

    asyncio.run(run())


def test_nothing_is_kept_of_requests_that_ended() -> None:
    async def run() -> None:
        async with serving(letters(TEXT)) as world:
            for stream in (False, True) * 5:
                await world.http.post("/completion", json=body(stream))
                await end(world)
            assert not world.client.is_busy
            assert isinstance(world.client.info, Ready)
            assert world.engine.of(Submit) == []

    asyncio.run(run())
