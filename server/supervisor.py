"""Keeps an engine running: starts it, watches it, buries it, starts another."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Literal, Protocol

from ..errors import ServerError
from .link import Engine, Link
from .logs import log
from .messages import Failed, FromEngine, Loading, Query, Ready, ToEngine
from .process import Ending
from .restarts import Restarts
from .watchdog import Watchdog

State = Literal["loading", "ready", "restarting", "stopped"]

LOADING = "Loading model"  # llama-server's words, and clients wait on them
ALIVE_ID = 0
"""Of the watchdog's questions; nobody waits for the answer."""


class Work(Protocol):
    """What the engines are for."""

    @property
    def is_busy(self) -> bool:
        """An engine should be saying something."""
        ...

    def receive(self, message: FromEngine) -> None:
        """An engine that is ready said something."""
        ...

    def begin(self) -> None:
        """A fresh engine is ready: send it everything there is to do."""
        ...

    def lose(self, why: str) -> int:
        """The engine is gone. Returns how many of the requests that it ran the next one gets."""
        ...


class Supervisor:
    """One engine at a time, in the order of their lives.

    `start_engine` starts one and returns at once. One that has work and says
    nothing for `hang_timeout_s` is killed; 0 waits for ever.
    """

    def __init__(
        self, start_engine: Callable[[], Engine], work: Work, hang_timeout_s: float
    ) -> None:
        self._start_engine = start_engine
        self._work = work
        self._hang_timeout_s = hang_timeout_s
        self._link: Link | None = None
        self._ready_at: float | None = None
        self._ended_at = 0.0
        self._last_word = ""  # what the engine itself said of its end
        self.restarts = Restarts()
        self.n_restarts = 0
        self.on_loading: Callable[[float], None] | None = None
        self.ready = asyncio.Event()
        self.info: Ready | None = None
        """Of the engine that runs now, or ran last."""
        self.state: State = "loading"
        self.failure = LOADING
        """Why the state is not "ready"."""

    def send(self, message: ToEngine) -> None:
        """To the engine, if it is ready; another one is told when it begins."""
        if self._link is not None and self.state == "ready":
            self._link.send(message)

    def stop(self, why: str) -> None:
        """Start no more engines and listen to none."""
        if self.state != "stopped":
            self.state, self.failure = "stopped", why
        if self._link is not None:
            self._link.close()

    async def run(self) -> None:
        """Engine after engine. Raises `ServerError` when another one would be in vain."""
        while True:
            self._ready_at, self._last_word = None, ""
            link = self._link = Link(self._new_engine(), self._receive)
            watchdog = self._watchdog = self._watch(link)
            try:
                await link.ended
            finally:
                watchdog.stop()
            if self.state == "ready":
                self.state, self.failure = "restarting", "the engine ended and is being restarted"
            self._ended_at = time.monotonic()
            served_s = self._ended_at - self._ready_at if self._ready_at else 0.0
            ending = await asyncio.to_thread(link.bury)
            await self._recover(self._reason(ending, watchdog), ending, served_s)

    def _new_engine(self) -> Engine:
        try:
            return self._start_engine()
        except OSError as error:
            raise ServerError(f"no engine can be started: {error}") from error

    def _watch(self, link: Link) -> Watchdog:
        return Watchdog(
            self._hang_timeout_s,
            is_busy=lambda: self.state == "ready" and self._work.is_busy,
            ask=lambda: link.send(Query(ALIVE_ID, "alive")),
            kill=link.engine.kill,
        )

    def _reason(self, ending: Ending, watchdog: Watchdog) -> str:
        if self._last_word:
            return self._last_word
        if watchdog.barked:
            return f"the engine gave no sign for {self._hang_timeout_s:g} s and was killed"
        return f"the engine ended {ending.how}"

    async def _recover(self, reason: str, ending: Ending, served_s: float) -> None:
        """Wait as long as it takes until another engine may start. Raises `ServerError`."""
        words = f"; its last words:\n{ending.last_words}" if ending.last_words else ""
        if self.info is None:
            raise ServerError(self._last_word or f"{reason} while it loaded the model{words}")
        if not self.restarts.ended(served_s):
            n = self.restarts.n_ends
            raise ServerError(
                f"{reason}, the last of {n} in a row with no request finished in between{words}"
            )
        self.failure = f"{reason} and is being restarted"
        self.n_restarts += 1
        n = self._work.lose(reason)
        last = f": {ending.last_line}" if ending.last_line else ""
        log.warning("%s%s; restarting, %d request%s replayed", reason, last, n, "s" * (n != 1))
        await asyncio.sleep(self.restarts.pause_s)

    def _receive(self, message: FromEngine) -> None:
        self._watchdog.heard()
        if isinstance(message, Ready):
            self._begin(message)
        elif isinstance(message, Failed):
            self._last_word = message.error
        elif isinstance(message, Loading):
            if self.on_loading is not None:
                self.on_loading(message.fraction)
        else:
            self._work.receive(message)

    def _begin(self, info: Ready) -> None:
        if self.info is not None and shape(info) != shape(self.info):
            self._last_word = f"the engine came back with {shape(info)}, not {shape(self.info)}"
            assert self._link is not None
            self._link.engine.kill()
            return
        self._ready_at = time.monotonic()
        if self.info is not None:
            log.warning(
                "the engine is back: %.1f s in all, loaded in %.1f s",
                self._ready_at - self._ended_at,
                info.load_seconds,
            )
        self.info, self.state, self.failure = info, "ready", ""
        self._work.begin()
        self.ready.set()


def shape(info: Ready) -> dict[str, Any]:
    """What the requests that go on were checked against."""
    return {"n_ctx": info.n_ctx, "n_ctx_slot": info.n_ctx_slot, "n_slots": info.n_slots}
