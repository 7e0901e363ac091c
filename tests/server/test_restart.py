"""Real engines that are killed, abort and hang while they work."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from pannier.engine import Engine
from pannier.sampling import SamplingParams
from pannier.server.client import EngineClient
from pannier.server.config import EngineConfig
from pannier.server.messages import Output
from pannier.server.process import EngineStarter
from pannier.server.restarts import MAX_ENDS

from ..conftest import engine_environment
from .test_clients import TINY, completion, request, serving, streamed_tokens

N_SLOTS = 5
N_TOKENS = 150
NOISE = 1e-3

pytestmark = pytest.mark.engine

GREEDY = SamplingParams(temperature=0.0, ignore_eos=True)
SEEDED = SamplingParams(seed=7, temperature=0.01, ignore_eos=True)
"""Cold, because a draw between two likely tokens can fall differently in another batch."""
UNSEEDED = SamplingParams(ignore_eos=True)
MIROSTAT = SamplingParams(mirostat=2, ignore_eos=True)


@asynccontextmanager
async def started(engine: Engine, hang_timeout_s: float = 0) -> AsyncIterator[EngineClient]:
    config = EngineConfig(
        str(TINY), str(engine.directory), n_ctx=4096, n_parallel=N_SLOTS, n_threads=1
    )
    with EngineStarter(config) as start_engine:
        client = EngineClient(start_engine, hang_timeout_s=hang_timeout_s)
        await client.start()
        yield client
        await client.close()


def prompt(number: int) -> list[int]:
    rng = random.Random(number)
    return [rng.randrange(10, 300) for _ in range(20)]


async def run(
    client: EngineClient, number: int, sampling: SamplingParams, *, whole: bool = False
) -> list[Output]:
    with client.stream() as stream:
        stream.submit(prompt(number), sampling, max_tokens=N_TOKENS, n_probs=2, whole=whole)
        return [output async for output in stream]


def tokens(outputs: list[Output]) -> list[int]:
    last = outputs[-1]
    assert last.finish == "length", last.error
    got = [token for output in outputs for token in output.tokens]
    assert [row.token for output in outputs for row in output.logprobs] == got
    return got


def assert_same(got: list[Output], expected: list[Output]) -> None:
    """Equal tokens, at least up to where the best two are as likely but for rounding: what an
    engine computed token by token, the next one computes as a prompt."""
    for n, (mine, other) in enumerate(zip(tokens(got), tokens(expected), strict=True)):
        if mine != other:
            best, second = [row for output in expected for row in output.logprobs][n].top
            assert best[1] - second[1] < NOISE, f"token {n}: {mine} in place of {other}"
            return


async def stricken(client: EngineClient, number: signal.Signals) -> None:
    """Send the engine a signal once it has sent the first tokens of a stream of its own."""
    assert client.info is not None
    pid = client.info.facts["pid"]
    with client.stream() as stream:
        stream.submit(prompt(0), GREEDY, max_tokens=4 * N_TOKENS)
        for _ in range(2):  # tokens of quick steps come together
            await stream.take()
        os.kill(pid, number)
        async for _ in stream:
            pass
    assert client.info.facts["pid"] != pid


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT, signal.SIGSTOP])
def test_requests_survive_their_engine(number: signal.Signals, cpu_engine: Engine) -> None:
    """Those that run beside the stricken one, and two more that wait for a slot."""

    async def all_of_them(client: EngineClient) -> list[list[Output]]:
        work = [
            run(client, 1, GREEDY),
            run(client, 2, SEEDED),
            run(client, 3, GREEDY, whole=True),
            run(client, 4, SEEDED, whole=True),
            run(client, 5, GREEDY),
            run(client, 6, SEEDED),
        ]
        return await asyncio.gather(*work)

    async def main() -> None:
        hang_timeout_s = 4 if number == signal.SIGSTOP else 0
        async with started(cpu_engine, hang_timeout_s) as client:
            expected = await all_of_them(client)
            _, got = await asyncio.gather(stricken(client, number), all_of_them(client))
            for mine, other in zip(got, expected, strict=True):
                assert_same(mine, other)
            assert not client.is_busy

    asyncio.run(main())


def test_what_cannot_go_on_says_so(cpu_engine: Engine) -> None:
    async def main() -> None:
        async with started(cpu_engine) as client:
            _, free, fragile = await asyncio.gather(
                stricken(client, signal.SIGKILL), run(client, 1, UNSEEDED), run(client, 2, MIROSTAT)
            )
        assert len(tokens(free)) == N_TOKENS
        assert fragile[-1].status == 503
        assert fragile[-1].error.startswith("the engine ended by SIGKILL; mirostat")

    asyncio.run(main())


def test_over_http(cpu_engine: Engine) -> None:
    with serving(cpu_engine, "-c", "4096", "-np", "4", "-t", "1") as server:
        body = request([5, 6, 7], 4 * N_TOKENS)
        expected = asyncio.run(streamed_tokens(server.port, body))

        async def kill_while_it_streams() -> tuple[list[int], Any]:
            whole = request([5, 6, 7], 4 * N_TOKENS, stream=False)
            streaming = asyncio.create_task(streamed_tokens(server.port, body))
            answering = asyncio.create_task(completion(server.port, whole))
            while not streaming.done() and not any(
                slot["is_processing"] for slot in await asyncio.to_thread(server.get, "/slots")
            ):
                pass
            os.kill(server.get("/props")["engine"]["pid"], signal.SIGKILL)
            return await streaming, await answering

        streamed, whole = asyncio.run(kill_while_it_streams())
        assert streamed == whole["tokens"] == expected
        assert server.get("/health") == {"status": "ok"}


def test_engines_that_abort_in_a_row_end_the_server(cpu_engine: Engine) -> None:
    """With status 1 and their last words, here those of Python's own handler."""
    command = [sys.executable, "-m", "pannier", "serve", str(TINY), "-c", "512", "--port", "0"]
    environment = engine_environment(cpu_engine) | {"PYTHONFAULTHANDLER": "1"}
    server = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    try:
        said = ""
        while " serves " not in said:
            said += (line := server.stderr.readline())
            assert line, said
        url = next(word for word in said.split() if word.startswith("http://"))
        pids: list[int] = []
        with httpx.Client(base_url=url, timeout=60) as http:
            for _ in range(MAX_ENDS):
                while (pid := http.get("/props").json()["engine"]["pid"]) in pids:
                    pass
                pids.append(pid)
                os.kill(pid, signal.SIGABRT)
        said = server.stderr.read()
        assert server.wait(60) == 1
    finally:
        server.kill()
        server.wait()
        server.stderr.close()
    assert said.count("restarting, 0 requests replayed") == MAX_ENDS - 1
    error = said[said.index("pannier: error: ") :]
    assert error.startswith("pannier: error: the engine ended by SIGABRT, the last of 3 in a row")
    assert "Fatal Python error: Aborted" in error
    assert "Traceback" not in said
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
