"""What a client asked for, checked: everything but the prompt."""

from __future__ import annotations

from dataclasses import dataclass

from ..sampling import SamplingParams
from .messages import Adapters, Overflow


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
    adapters: Adapters = ()
    lora: Adapters = ()
    """What the client said of them."""
    verbose: bool = False
    return_progress: bool = False
    n_indent: int = 0
    t_max_predict_ms: int = 0
    n_discard: int = 0
    slot: int = -1
    report_memory: bool = False
    report_cache: bool = False
    backend_sampling: bool = False

    @property
    def whole(self) -> bool:
        """Nobody looks at the tokens before the last one: neither a client nor a stop string."""
        return not (self.stream or self.stops or self.ends_at_lines)

    @property
    def ends_at_lines(self) -> bool:
        """An indentation or a time may end the answer."""
        return self.n_indent > 0 or self.t_max_predict_ms > 0

    @property
    def post_probs(self) -> bool:
        """Probabilities are those after sampling."""
        return self.sampling.post_sampling_probs
