"""When things happened to one request."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from .messages import Timings


@dataclass(slots=True)
class Stopwatch:
    """Times of one request, in seconds of a monotonic clock; 0 means not yet."""

    n_prompt: int
    submitted: float
    started: float = 0.0
    first_token: float = 0.0
    n_predicted: int = 0

    def timings(self, now: float) -> Timings:
        """What the request cost up to now."""
        started = self.started or now
        first = self.first_token or now
        return Timings(
            prompt_n=self.n_prompt,
            prompt_s=first - started,
            predicted_n=self.n_predicted,
            predicted_s=now - first,
            queued_s=started - self.submitted,
        )


Clock = Callable[[], float]
monotonic: Clock = time.monotonic
