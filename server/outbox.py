"""News on its way to the HTTP side: what nobody misses yet waits for more.

Each message wakes a process that takes time from the engine's threads. So a request that wants
its answer whole gets one, at the end, and steps that are faster than anybody reads share one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from .messages import Output

Item = TypeVar("Item")


class Outbox:
    """Outputs that have not been sent, one for each request: its tokens in order.

    `interval_s` is how long news that come in the middle of an answer may wait.
    """

    def __init__(self, interval_s: float = 0.0) -> None:
        self.interval_s = interval_s
        self._whole: set[int] = set()
        self._begun: set[int] = set()
        self._news: dict[int, Output] = {}
        self._held: dict[int, Output] = {}
        self._due_s = 0.0

    def hold(self, id: int) -> None:
        """From now on keep this request's outputs until its last one."""
        self._whole.add(id)

    def add(self, outputs: Iterable[Output]) -> bool:
        """More news. Whether some of them must go at once: a beginning, an end."""
        urgent = False
        for output in outputs:
            ended, whole = output.finish is not None, output.id in self._whole
            waits = whole and not ended
            begins = not output.processed
            _append(self._held if waits else self._news, output, self._held)
            urgent |= ended or not (whole or output.id in self._begun)
            if begins:
                self._begun.add(output.id)
            if ended:
                self._whole.discard(output.id)
                self._begun.discard(output.id)
        return urgent

    def take(self, now_s: float, *, at_once: bool = True) -> list[Output]:
        """What is to be sent now: everything but whole answers that grow, `at_once` or when the
        last time is long enough ago."""
        if not self._news or not (at_once or now_s >= self._due_s):
            return []
        self._due_s = now_s + self.interval_s
        news, self._news = list(self._news.values()), {}
        return news


def _append(to: dict[int, Output], output: Output, held: dict[int, Output]) -> None:
    """Put an output behind what its request has had before."""
    before = to.pop(output.id, None) or held.pop(output.id, None)
    if before is not None:
        output.tokens = _joined(before.tokens, output.tokens)
        output.logprobs = _joined(before.logprobs, output.logprobs)
        output.processed = _joined(before.processed, output.processed)
        output.timings = output.timings or before.timings
        output.memory = output.memory or before.memory
    to[output.id] = output


def _joined(before: list[Item], more: list[Item]) -> list[Item]:
    """The same list, longer: an answer that is held does not get copied with each token."""
    before.extend(more)
    return before
