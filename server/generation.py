"""What a client asked for, checked: everything but the prompt."""

from __future__ import annotations

from dataclasses import dataclass

from ..sampling import SamplingParams
from .messages import Overflow


@dataclass(frozen=True)
class Generation:
    """Everything but the prompt."""

    sampling: SamplingParams
    max_tokens: int
    n_probs: int
    n: int
    stops: tuple[str, ...]
    stream: bool
    include_usage: bool
    return_tokens: bool
    timings_per_token: bool
    response_fields: tuple[str, ...]
    ping_interval_s: int
    cache_prompt: bool = True
    overflow: Overflow = "stop"
    n_keep: int = 0
    priority: int = 0
    preserved: frozenset[int] = frozenset()
    """Control tokens that are spelled out in the text."""

    @property
    def whole(self) -> bool:
        """Nobody looks at the tokens before the last one: neither a client nor a stop string."""
        return not self.stream and not self.stops
