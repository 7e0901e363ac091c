"""A light HTTP load: n clients on raw sockets, so that the client costs little of the machine."""

from __future__ import annotations

import asyncio
import json
import random
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Load:
    """What each client does, one request after the other."""

    n_clients: int
    n_requests: int
    """By each client."""
    n_prompt: int
    n_predict: int
    n_vocab: int
    """Prompt tokens are drawn from [3, n_vocab)."""
    stream: bool
    seed: int
    temperature: float = 0.0


@dataclass(frozen=True)
class Result:
    wall_s: float
    n_tokens: int
    """Generated."""
    first_token_s: tuple[float, ...]
    """Of each request, from sending it; with `stream` only."""

    @property
    def tokens_per_s(self) -> float:
        return self.n_tokens / self.wall_s


def prompts(load: Load, client: int) -> list[list[int]]:
    """A client's prompts: the same for every server."""
    rng = random.Random(f"{load.seed}/{client}")
    return [
        [rng.randrange(3, load.n_vocab) for _ in range(load.n_prompt)]
        for _ in range(load.n_requests)
    ]


def body(load: Load, prompt: list[int]) -> bytes:
    return json.dumps(
        {
            "prompt": prompt,
            "n_predict": load.n_predict,
            "temperature": load.temperature,
            "seed": load.seed,
            "ignore_eos": True,
            "cache_prompt": False,
            "stream": load.stream,
        }
    ).encode()


async def one(port: int, load: Load, payload: bytes) -> tuple[int, float]:
    """One request on a connection of its own: generated tokens, seconds to the first of them."""
    start = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**22)
    writer.write(
        b"POST /completion HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(payload), payload)
    )
    first = 0.0
    data = bytearray()
    while chunk := await reader.read(2**16):
        data += chunk
        if load.stream and not first and b"data: " in data:
            first = time.perf_counter() - start
    writer.close()
    return count_tokens(load, bytes(data)), first


def count_tokens(load: Load, answer: bytes) -> int:
    """Tokens that the server says it generated; the last event says so when streaming."""
    marker = b'"tokens_predicted":'
    at = answer.rfind(marker)
    if not answer.startswith(b"HTTP/1.1 200") or at < 0:
        raise RuntimeError(f"the server answered {answer[:500]!r}")
    digits = answer[at + len(marker) :].split(b",")[0].split(b"}")[0]
    n_tokens = int(digits)
    if n_tokens != load.n_predict:
        raise RuntimeError(f"{n_tokens} tokens in place of {load.n_predict}")
    return n_tokens


async def client(port: int, load: Load, payloads: list[bytes]) -> list[tuple[int, float]]:
    return [await one(port, load, payload) for payload in payloads]


async def run(port: int, load: Load) -> Result:
    """All clients at once; returns when the last one is done."""
    work = [
        [body(load, prompt) for prompt in prompts(load, number)] for number in range(load.n_clients)
    ]
    start = time.perf_counter()
    done = await asyncio.gather(*(client(port, load, payloads) for payloads in work))
    wall = time.perf_counter() - start
    answers = [answer for answers in done for answer in answers]
    return Result(wall, sum(n for n, _ in answers), tuple(first for _, first in answers))
