"""The `activity` of `/memory` and the state of its clients, against what the answers said."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import pytest

from pannier.engine import Engine

from .llama_server import call
from .test_clients import Server, completion, post, request, serving
from .test_embeddings import LLAMA

pytestmark = pytest.mark.engine


def activity(server: Server) -> Any:
    return server.get("/memory")["activity"]


def test_totals_are_what_the_answers_said(cpu_engine: Engine) -> None:
    prompt = list(range(10, 90))
    with serving(cpu_engine, "-c", "1024", "-np", "2", "-t", "1") as server:
        before = activity(server)
        first = asyncio.run(completion(server.port, request(prompt, 4, stream=False)))
        bodies = [
            request([*prompt, *first["tokens"], 5, 6], 3, stream=False),  # it goes on
            request([*prompt[:60], *range(120, 160)], 2, stream=False),  # it drifts
            request(list(range(200, 240)), 1, stream=False),
        ]
        answers = [first, *(asyncio.run(completion(server.port, body)) for body in bodies)]
        timings = [answer["timings"] for answer in answers]
        memory = server.get("/memory")
    after = memory["activity"]
    reasons = Counter(one["cache_reason"].partition(" at token ")[0] for one in timings)
    del reasons[""]
    assert reasons and after["reasons"] == reasons
    assert after["n_prompt_tokens"] == sum(one["prompt_n"] for one in timings)
    assert after["n_cached_tokens"] == sum(one["cache_n"] for one in timings) > 0
    assert after["n_generated_tokens"] == sum(one["predicted_n"] for one in timings) == 10
    assert after["n_hits"] == sum(one["cache_n"] > 0 for one in timings)
    assert (after["n_started"], after["n_finished"]) == (4, 4)
    assert after["n_refused"] == after["n_failed"] == after["n_running"] == 0
    assert 0 < before["uptime_s"] < after["uptime_s"]
    assert {(row["state"], row["n_prompt"]) for row in memory["clients"]} == {("kept", 0)}


def test_requests_that_run_wait_and_are_refused(cpu_engine: Engine) -> None:
    """One slot, one place in line: of three requests the last one is refused."""

    async def look(server: Server) -> tuple[Any, Any, bytes]:
        async with AsyncExitStack() as stack:
            body = request(list(range(10, 20)), 900)
            running = await stack.enter_async_context(post(server.port, "/completion", body))
            for _ in range(3):
                await running.readuntil(b"data: ")
            await stack.enter_async_context(post(server.port, "/completion", body))
            while not (await asyncio.to_thread(activity, server))["n_waiting"]:
                await asyncio.sleep(0.01)
            refused = await stack.enter_async_context(post(server.port, "/completion", body))
            said = await refused.read()
            return (*await asyncio.to_thread(two_reports, server), said)

    def two_reports(server: Server) -> tuple[Any, Any]:
        return server.get("/memory"), server.get("/memory")

    flags = ("-c", "1024", "-np", "1", "-t", "1", "--max-queue", "1")
    with serving(cpu_engine, *flags) as server:
        first, second, said = asyncio.run(look(server))
        while activity(server)["n_running"]:
            pass
        idle = activity(server)
    assert said.startswith(b"HTTP/1.1 503"), said
    counts = second["activity"]
    assert {name: counts[name] for name in ("n_running", "n_waiting", "max_queue")} == {
        "n_running": 1,
        "n_waiting": 1,
        "max_queue": 1,
    }
    assert (counts["n_refused"], counts["n_failed"]) == (1, 0)
    [row] = [row for row in second["clients"] if row["id"] is not None]
    assert (row["state"], row["n_prompt"], row["n_reused"]) == ("decoding", 10, 0)
    assert row["n_computed"] == row["n_prompt"] + row["n_generated"] - 1
    # what runs is counted as it goes, not when it ends
    assert counts["n_generated_tokens"] >= row["n_generated"] > 1
    assert first["activity"]["n_generated_tokens"] <= counts["n_generated_tokens"]
    assert (idle["n_waiting"], idle["n_finished"]) == (0, 2), "those that their clients left"


def test_a_prompt_is_told_as_it_is_computed(cpu_engine: Engine) -> None:
    async def look(server: Server) -> Any:
        body = request(list(range(10, 250)) * 120, 1)
        async with post(server.port, "/completion", body) as reader:
            while True:
                memory = await asyncio.to_thread(server.get, "/memory")
                rows = [row for row in memory["clients"] if row["state"] == "prompt"]
                if rows and rows[0]["n_computed"]:
                    return rows[0]
                assert not reader.at_eof()

    with serving(cpu_engine, "-c", "32768", "-np", "1", "-t", "1", "-b", "256") as server:
        row = asyncio.run(look(server))
    assert 0 < row["n_computed"] < row["n_prompt"] == 240 * 120
    assert row["n_generated"] == 0


def test_a_server_that_embeds(cpu_engine: Engine) -> None:
    with serving(cpu_engine, "-t", "1", "--embeddings", "--pooling", "mean", model=LLAMA) as server:
        for inputs in (["a", "b c"], ["d"]):
            status, answer = call(server.port, "/v1/embeddings", {"input": inputs})[:2]
            assert status == 200, json.dumps(answer)
        counts = activity(server)
    assert (counts["n_started"], counts["n_finished"], counts["n_failed"]) == (2, 2, 0)
    assert counts["n_prompt_tokens"] > 3
    assert counts["n_generated_tokens"] == counts["n_running"] == 0
