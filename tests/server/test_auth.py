"""API keys."""

from __future__ import annotations

import asyncio

import pytest

from .conftest import serving, steps

KEYS = ("first", "sécond")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer first"}, 200),
        ({"Authorization": "Bearer sécond".encode()}, 200),
        ({"Authorization": "first"}, 200),
        ({"X-Api-Key": "first"}, 200),
        ({"X-Api-Key": "third"}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": "Bearer third", "X-Api-Key": "first"}, 401),
    ],
)
def test_keys(headers: dict[str, str], status: int) -> None:
    async def run() -> None:
        async with serving(steps("ok"), api_keys=KEYS) as world:
            answer = await world.http.get("/v1/models", headers=headers)
            assert answer.status_code == status
            if status == 401:
                assert answer.json()["error"]["type"] == "authentication_error"
            assert (await world.http.get("/health", headers=headers)).status_code == 200
            post = await world.http.post("/completion", json={"prompt": "a"}, headers=headers)
            assert post.status_code == status

    asyncio.run(run())


def test_no_keys_ask_nothing() -> None:
    async def run() -> None:
        async with serving(steps("ok")) as world:
            assert (await world.http.get("/v1/models")).status_code == 200

    asyncio.run(run())
