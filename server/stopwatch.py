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
    n_reused: int = 0
    reason: str = ""
    drift_at: int = -1
    n_drafted: int = 0
    n_draft_accepted: int = 0

    def timings(self, now: float) -> Timings:
        """What the request cost up to now."""
        started = self.started or now
        first = self.first_token or now
        return Timings(
            prompt_n=self.n_prompt - self.n_reused,
            prompt_s=first - started,
            predicted_n=self.n_predicted,
            predicted_s=now - first,
            queued_s=started - self.submitted,
            cache_n=self.n_reused,
            cache_reason=self.reason,
            drift_at=self.drift_at,
            draft_n=self.n_drafted,
            draft_n_accepted=self.n_draft_accepted,
        )


Clock = Callable[[], float]
monotonic: Clock = time.monotonic
