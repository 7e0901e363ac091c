"""Clients that check every answer: complete and right, an error that says so, or dropped."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx

SAMPLINGS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0},
    "seeded": {"temperature": 0.8, "seed": 7},
    "free": {"temperature": 0.8},
}


@dataclass(frozen=True)
class Case:
    """One request that the clients send over and over."""

    sampling: str
    stream: bool
    prompt: tuple[int, ...]
    n_predict: int

    @property
    def body(self) -> dict[str, Any]:
        return {
            "prompt": list(self.prompt),
            "n_predict": self.n_predict,
            "ignore_eos": True,
            "return_tokens": True,
            "stream": self.stream,
            **SAMPLINGS[self.sampling],
        }


def cases(n_prompts: int, n_predict: int, n_vocab: int) -> list[Case]:
    rng = random.Random(1)
    prompts = [
        tuple(rng.randrange(10, n_vocab) for _ in range(rng.randrange(16, 129)))
        for _ in range(n_prompts)
    ]
    return [
        Case(sampling, stream, prompt, n_predict)
        for sampling in SAMPLINGS
        for stream in (True, False)
        for prompt in prompts
    ]


@dataclass
class Crowd:
    """Clients under way, what they have seen, and what they should see."""

    url: str
    n_predict: int
    expected: dict[Case, list[int]]
    ends: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    n_complete: int = 0
    stopping: bool = False

    async def client(self, number: int) -> None:
        """One request after the other; every second client keeps its connection."""
        rng = random.Random(number)
        limits = httpx.Limits(max_keepalive_connections=number % 2)
        async with connect(self.url, limits=limits) as http:
            while not self.stopping:
                case = rng.choice(list(self.expected))
                end = await self.one(http, case)
                self.ends[f"{case.sampling}, {'streamed' if case.stream else 'whole'}: {end}"] += 1

    async def one(self, http: httpx.AsyncClient, case: Case) -> str:
        try:
            answer = await ask(http, case)
        except httpx.HTTPError as failure:
            self.errors[repr(failure)] += 1
            return "dropped"
        if answer.error:
            self.errors[answer.error] += 1
            return f"error {answer.status}"
        self.n_complete += 1
        if answer.n_predicted != self.n_predict:
            return "wrong length"
        right = case.sampling == "free" or answer.tokens == self.expected[case]
        return "complete" if right else "other tokens"

    async def run(self, n_clients: int, work: asyncio.Task[Any]) -> None:
        """Clients until the work is done; each ends its request first."""
        work.add_done_callback(lambda _: setattr(self, "stopping", True))
        await asyncio.gather(work, *(self.client(number) for number in range(n_clients)))


@dataclass
class Answer:
    """One request's, whole or from its events."""

    status: int
    tokens: list[int] = field(default_factory=list)
    n_predicted: int = 0
    error: str = ""


async def ask(http: httpx.AsyncClient, case: Case) -> Answer:
    """The answer to one request. Raises `httpx.HTTPError` for one that breaks off."""
    response = await http.post("/completion", json=case.body)
    if response.status_code != 200:
        return Answer(response.status_code, error=response.json()["error"]["message"])
    if not case.stream:
        body = response.json()
        return Answer(200, body["tokens"], body["tokens_predicted"])
    answer = Answer(200)
    event: dict[str, Any] = {}
    for line in response.text.splitlines():
        if line.startswith("data: "):
            event = json.loads(line[6:])
            if "error" in event:
                return Answer(event["error"]["code"], error=event["error"]["message"])
            answer.tokens += event["tokens"]
            answer.n_predicted = event["tokens_predicted"]
    if not event.get("stop"):
        raise httpx.RemoteProtocolError("the stream has no last event")
    return answer


async def alone(url: str, all_cases: list[Case]) -> dict[Case, list[int]]:
    """What each case gets from an undisturbed server, one after the other."""
    expected: dict[Case, list[int]] = {}
    async with connect(url) as http:
        for case in all_cases:
            answer = await ask(http, case)
            if answer.error:
                raise RuntimeError(f"undisturbed, {case.body} got {answer}")
            expected[case] = answer.tokens
    return expected


async def first_answer_s(http: httpx.AsyncClient) -> float:
    """Seconds until a request that is sent now has its one token."""
    start = time.perf_counter()
    body = {"prompt": [10, 11, 12], "n_predict": 1, "temperature": 0}
    answer = await http.post("/completion", json=body)
    if answer.status_code != 200:
        raise RuntimeError(f"after a death, a request got {answer.text}")
    return time.perf_counter() - start


def connect(url: str, **options: Any) -> httpx.AsyncClient:
    """A client that loads no certificates, which takes longer than a restart."""
    return httpx.AsyncClient(base_url=url, timeout=120, verify=False, **options)
