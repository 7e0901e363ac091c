"""The engine's reports."""

from __future__ import annotations

import asyncio

from .conftest import N_SLOTS, Visitor, endless, serving
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
