"""When a silent engine is asked, and when it is killed."""

from __future__ import annotations

import threading

from pannier.server.watchdog import Watchdog


class World:
    def __init__(self, timeout_s: float = 0) -> None:
        self.busy = True
        self.did: list[str] = []
        self.killed = threading.Event()
        self.watchdog = Watchdog(
            timeout_s, is_busy=lambda: self.busy, ask=lambda: self.did.append("ask"), kill=self.kill
        )

    def kill(self) -> None:
        self.did.append("kill")
        self.killed.set()


def test_two_silent_ticks_ask_and_two_more_kill_once() -> None:
    world = World()
    seen = []
    for _ in range(8):
        world.watchdog.tick()
        seen.append(list(world.did))
    assert seen == [[], ["ask"], ["ask"], *[["ask", "kill"]] * 5]
    assert world.watchdog.barked


def test_any_news_is_a_sign_of_life() -> None:
    world = World()
    for _ in range(10):
        for _ in range(3):
            world.watchdog.tick()
        world.watchdog.heard()
    assert world.did == ["ask"] * 10
    assert not world.watchdog.barked


def test_an_engine_without_work_may_be_silent() -> None:
    world = World()
    world.watchdog.tick()
    world.busy = False
    for _ in range(10):
        world.watchdog.tick()
    world.busy = True
    world.watchdog.tick()
    assert world.did == []


def test_it_ticks_by_itself_until_it_is_stopped() -> None:
    world = World(timeout_s=0.004)
    assert world.killed.wait(30)
    world.watchdog.stop()
    world.watchdog._thread.join(30)
    assert not world.watchdog._thread.is_alive()
