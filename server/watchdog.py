"""Notices an engine that has work and says nothing any more."""

from __future__ import annotations

import threading
from collections.abc import Callable

N_TICKS = 4
ASK_AT = 2


class Watchdog:
    """Ticks four times in `timeout_s`: after two silent ticks it asks, after four it kills.

    A thread of its own, because the event loop itself waits where an engine
    stops in the middle of a long message. It counts ticks, not time: a machine
    that slept is not a silent engine.
    """

    def __init__(
        self,
        timeout_s: float,
        *,
        is_busy: Callable[[], bool],
        ask: Callable[[], None],
        kill: Callable[[], None],
    ) -> None:
        self.timeout_s = timeout_s
        self.barked = False
        """It has killed."""
        self._is_busy, self._ask, self._kill = is_busy, ask, kill
        self._n_silent = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pannier-watchdog", daemon=True)
        if timeout_s > 0:
            self._thread.start()

    def heard(self) -> None:
        """The engine said something."""
        self._n_silent = 0

    def tick(self) -> None:
        """One more fourth of the time has passed."""
        self._n_silent = self._n_silent + 1 if self._is_busy() else 0
        if self._n_silent == ASK_AT:
            self._ask()
        elif self._n_silent == N_TICKS:
            self.barked = True
            self._kill()

    def stop(self) -> None:
        """No more ticks."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(self.timeout_s / N_TICKS):
            self.tick()
