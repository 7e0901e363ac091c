"""The real server with several clients: nobody gets another's tokens, nothing is lost."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import threading
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import openai
import pytest

from pannier.engine import Engine

from ..conftest import engine_environment

TINY = Path(__file__).parents[1] / "data" / "qwen3next" / "model-f32.gguf"
N_SLOTS = 8
START_TIMEOUT_S = 180

pytestmark = pytest.mark.engine


class Server:
    """A running `pannier serve`."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as answer:
            return json.load(answer)

    def rss_bytes(self, pid: int) -> int:
        status = Path(f"/proc/{pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024


@contextmanager
def serving(
    engine: Engine, *options: str, model: Path = TINY, env: dict[str, str] | None = None
) -> Iterator[Server]:
    """`pannier serve` on a free port, until the block ends; it must end with status 0."""
    command = [sys.executable, "-m", "pannier", "serve", str(model), "--port", "0", *options]
    process = subprocess.Popen(
        command, env=engine_environment(engine) | (env or {}), stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    killer = threading.Timer(START_TIMEOUT_S, process.kill)
    killer.start()
    said = line = ""
    while " serves " not in line:
        line = process.stderr.readline()
        said += line
        assert line, f"the server ended before it served: {said}"
    killer.cancel()
    drain = threading.Thread(target=process.stderr.read, daemon=True)
    drain.start()
    port = line.split(" serves ")[0].rsplit(":", 1)[1].partition("/")[0]
    yield Server(process, int(port))
    process.terminate()
    status = process.wait(30)
    drain.join()
    process.stderr.close()
    assert status == 0


@pytest.fixture(scope="module")
def server(cpu_engine: Engine) -> Iterator[Server]:
    options = ("-c", "4096", "-np", str(N_SLOTS), "-t", "1", "--cache-ram", "1")
    with serving(cpu_engine, *options) as server:
        yield server


@asynccontextmanager
async def post(port: int, path: str, body: dict[str, Any]) -> AsyncIterator[asyncio.StreamReader]:
    """The answer's bytes; leaving the block drops the connection."""
    payload = json.dumps(body).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        head = f"POST {path} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(payload)}\r\nConnection: close\r\n\r\n".encode())
        writer.write(payload)
        yield reader
    finally:
        writer.close()


def request(prompt: list[int], n_predict: int, *, stream: bool = True) -> dict[str, Any]:
    return {
        "prompt": prompt,
        "n_predict": n_predict,
        "temperature": 0,
        "ignore_eos": True,
        "return_tokens": True,
        "stream": stream,
    }


async def streamed_tokens(port: int, body: dict[str, Any]) -> list[int]:
    """All tokens of a streamed completion, from its events."""
    tokens: list[int] = []
    async with post(port, "/completion", body) as reader:
        text = (await reader.read()).decode()
    assert text.startswith("HTTP/1.1 200"), text[:300]
    for line in text.splitlines():
        if line.startswith("data: "):
            tokens += json.loads(line[6:]).get("tokens", [])
    return tokens


def test_eight_streams_get_the_greedy_tokens_that_each_gets_alone(server: Server) -> None:
    rng = random.Random(8)
    bodies = [
        request([rng.randrange(10, 300) for _ in range(rng.randrange(5, 120))], 48)
        for _ in range(N_SLOTS)
    ]

    async def alone() -> list[list[int]]:
        return [await streamed_tokens(server.port, body) for body in bodies]

    async def together() -> list[list[int]]:
        return await asyncio.gather(*(streamed_tokens(server.port, body) for body in bodies))

    expected = asyncio.run(alone())
    assert [len(tokens) for tokens in expected] == [48] * N_SLOTS
    assert asyncio.run(together()) == expected


async def one_of_many(port: int, rng: random.Random) -> str:
    """A request that runs to its end, or that its client leaves at some moment."""
    prompt = [rng.randrange(10, 300) for _ in range(rng.randrange(1, 200))]
    stream = rng.random() < 0.7
    async with post(port, "/completion", request(prompt, 24, stream=stream)) as reader:
        leaving = rng.random()
        if leaving < 0.2:
            return "left at once"
        if leaving < 0.4:
            await asyncio.wait_for(reader.read(rng.randrange(1, 2000)), 60)
            return "left in between"
        text = (await asyncio.wait_for(reader.read(), 60)).decode()
    assert text.startswith("HTTP/1.1 200"), text[:300]
    assert '"error"' not in text
    assert '"tokens_predicted":24' in text
    return "finished"


async def crowd(port: int, n_clients: int, n_requests: int, seed: int) -> list[str]:
    async def client(number: int) -> list[str]:
        rng = random.Random(f"{seed}/{number}")
        return [await one_of_many(port, rng) for _ in range(n_requests // n_clients)]

    ends = await asyncio.gather(*(client(number) for number in range(n_clients)))
    return [end for one in ends for end in one]


def wait_until_idle(server: Server) -> None:
    for _ in range(2000):
        if not any(slot["is_processing"] for slot in server.get("/slots")):
            return
    pytest.fail("a slot was never freed")


def test_500_requests_of_16_clients_that_come_and_go(server: Server) -> None:
    engine_pid = server.get("/props")["engine"]["pid"]
    pids = (server.process.pid, engine_pid)
    asyncio.run(crowd(server.port, 16, 160, seed=1))
    wait_until_idle(server)
    before = [server.rss_bytes(pid) for pid in pids]
    ends = asyncio.run(crowd(server.port, 16, 512, seed=2))
    wait_until_idle(server)
    growth = [server.rss_bytes(pid) - start for pid, start in zip(pids, before, strict=True)]
    assert ends.count("finished") > 200
    assert ends.count("left at once") > 50
    assert ends.count("left in between") > 50
    memory = server.get("/memory")
    assert all(row["id"] is None for row in memory["clients"])  # prefixes, for later requests
    assert memory["kv"]["n_cells_reserved"] == 0
    assert memory["allocated_bytes"] == memory["total_bytes"]
    # Allocators keep some of what a burst took; a request lost each time would be far more.
    assert max(growth) < 16 * 2**20, growth


def test_a_client_that_leaves_frees_its_slot(server: Server) -> None:
    async def leave() -> None:
        async with post(server.port, "/completion", request([5, 6, 7], 3000)) as reader:
            await reader.readuntil(b"data: ")
            assert any(slot["is_processing"] for slot in server.get("/slots"))

    asyncio.run(leave())
    wait_until_idle(server)


def test_memory_names_each_client_and_adds_up(server: Server) -> None:
    async def look() -> Any:
        async with post(server.port, "/completion", request([5, 6, 7], 3000)) as reader:
            await reader.readuntil(b"data: ")
            return await asyncio.to_thread(server.get, "/memory")

    memory = asyncio.run(look())
    [client] = [row for row in memory["clients"] if row["id"] is not None]
    assert client["kv_bytes"] == client["n_cells"] * memory["kv"]["cell_bytes"] > 0
    assert client["recurrent_bytes"] == memory["recurrent_seq_bytes"] > 0
    [cpu] = memory["devices"]
    assert cpu["process_bytes"] > cpu["untracked_bytes"] > 0
    assert cpu["recurrent_bytes"] == memory["n_sequences"] * memory["recurrent_seq_bytes"]
    wait_until_idle(server)


@pytest.mark.vulkan
def test_on_a_gpu_states_live_there_and_experts_in_cpu_memory(vulkan_engine: Engine) -> None:
    """`/memory` of a Vulkan engine, a software device included."""
    # Mesa's software driver can crash in flash attention.
    options = ("-c", "1024", "-np", "2", "-ngl", "99", "--cpu-moe", "-fa", "off", "-t", "1")
    with serving(vulkan_engine, *options, env={"GGML_VK_VISIBLE_DEVICES": "0"}) as server:
        memory = server.get("/memory")
        gpus = [device for device in memory["devices"] if device["type"] != "cpu"]
        if not gpus:
            pytest.skip(
                "the Vulkan engine sees no device: install a driver, software ones included"
            )
        body = request([5, 6, 7, 8], 4, stream=False)
        assert len(asyncio.run(completion(server.port, body))["tokens"]) == 4
    [cpu] = [device for device in memory["devices"] if device["type"] == "cpu"]
    [gpu] = gpus
    assert gpu["kv_bytes"] == memory["kv"]["n_cells"] * memory["kv"]["cell_bytes"] > 0
    assert gpu["recurrent_bytes"] == memory["n_sequences"] * memory["recurrent_seq_bytes"] > 0
    assert cpu["kv_bytes"] == cpu["recurrent_bytes"] == 0
    assert 0 < gpu["weights_bytes"] < cpu["weights_bytes"]
    assert memory["total_bytes"] == memory["allocated_bytes"]


async def completion(port: int, body: dict[str, Any]) -> Any:
    """A completion that comes in one piece."""
    async with post(port, "/completion", body) as reader:
        head, _, payload = (await reader.read()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), payload
    return json.loads(payload)


def test_the_served_distribution_is_that_of_transformers(server: Server) -> None:
    """log-probabilities over HTTP against the reference logits; the server's KV cache is f16."""
    reference = np.load(TINY.parent / "reference.npz")
    n_vocab = reference["logits"].shape[1]
    body = request([int(token) for token in reference["prompt"]], 1, stream=False)
    [row] = asyncio.run(completion(server.port, body | {"n_probs": n_vocab}))[
        "completion_probabilities"
    ]
    got = np.full(n_vocab, np.nan)
    for candidate in row["top_logprobs"]:
        got[candidate["id"]] = candidate["logprob"]
    logits = reference["logits"][-1].astype(np.float64)
    expected = logits - np.log(np.sum(np.exp(logits)))
    assert np.linalg.norm(got - expected) / np.linalg.norm(expected) < 1e-3
    assert row["id"] == int(np.argmax(logits))


def test_the_openai_client(server: Server) -> None:
    """The official SDK: models, a chat in one piece and streamed, an error as its exception."""
    with openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key="none") as client:
        [model] = client.models.list().data
        question: list[Any] = [{"role": "user", "content": "Tell me about llamas"}]
        options: dict[str, Any] = {"temperature": 0, "max_tokens": 24}
        whole = client.chat.completions.create(model=model.id, messages=question, **options)
        choice = whole.choices[0]
        assert choice.message.role == "assistant"
        assert choice.finish_reason in ("stop", "length")
        assert whole.usage is not None
        assert 0 < whole.usage.completion_tokens <= 24
        chunks = list(
            client.chat.completions.create(
                model=model.id,
                messages=question,
                stream=True,
                stream_options={"include_usage": True},
                **options,
            )
        )
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        assert text == choice.message.content
        usage = chunks[-1].usage
        assert usage is not None
        assert usage.completion_tokens == whole.usage.completion_tokens
        assert usage.prompt_tokens == whole.usage.prompt_tokens
        details = usage.prompt_tokens_details
        assert details is not None
        assert 0 < (details.cached_tokens or 0) < usage.prompt_tokens
        with pytest.raises(openai.BadRequestError, match="temperature"):
            client.chat.completions.create(
                model=model.id, messages=question, temperature=cast(Any, "hot")
            )
