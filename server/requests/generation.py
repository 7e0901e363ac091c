"""Fields that the three completions share."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, AliasChoices, Field, ValidationInfo

from ..generation import Generation
from ..messages import Overflow
from ..state import Serving
from . import not_yet
from .base import RequestBody
from .sampling import SamplingBody
from .types import Limit, Natural, Strings, unexpected, whole


def _at_most_slots(n: int, info: ValidationInfo) -> int:
    n_slots = info.context.info.n_slots  # type: ignore[union-attr]
    if n > n_slots:
        raise unexpected(f"a whole number from 1 to {n_slots}", n)
    return n


class StreamOptions(RequestBody):
    """Options of a stream."""

    include_usage: bool = False
    """A last chunk with the token counts."""


class GenerationBody(SamplingBody):
    """How an answer is made. Where a field has several names, the first that is given counts."""

    section = "Generation"
    not_yet = not_yet.GENERATION

    n_predict: Limit = Field(
        default=-1,
        validation_alias=AliasChoices("n_predict", "max_completion_tokens", "max_tokens"),
    )
    """Most tokens of the answer; -1: until the model ends it or the context is full; 0: compute
    the prompt only."""
    n_cmpl: Annotated[int, whole(1), AfterValidator(_at_most_slots)] = Field(
        default=1, validation_alias=AliasChoices("n_cmpl", "n")
    )
    """Answers to each prompt, at most as many as there are slots; their seeds are `seed`,
    `seed + 1` ..."""
    n_probs: Natural = 0
    """So many most likely tokens, with their log-probabilities, with each token of the answer."""
    stop: Strings = ()
    """End the answer before any of these."""
    stream: bool = False
    """Send the answer as it grows, as server-sent events."""
    stream_options: StreamOptions = StreamOptions()
    """What a stream tells beside the text."""
    sse_ping_interval: Limit = 30
    """Seconds of silence after which a stream gets a comment line; -1: none."""
    timings_per_token: bool = False
    """`timings` in every chunk."""
    return_tokens: bool = False
    """The tokens beside the text, in `/completion`."""
    response_fields: Strings = ()
    """Only these fields of the answer, in `/completion`; `a/b` reaches inside."""
    cache_prompt: bool = True
    """Start from what the cache holds of the prompt; false: compute all of it."""
    context_overflow: Overflow | None = None
    """When the context is full: `stop` ends the answer, `shift` forgets the older half and goes
    on, `error` refuses at once what cannot fit. `--context-shift` says the default."""
    n_keep: Limit = 0
    """Tokens at the start that a shift keeps; -1: the whole prompt."""
    priority: Annotated[int, whole(-1000, 1000)] = 0
    """Who waits starts in order of priority, then of arrival."""

    @property
    def n_alternatives(self) -> int:
        """Log-probabilities wanted with each token."""
        return self.n_probs

    def generation(self, server: Serving, stops: tuple[str, ...] = ()) -> Generation:
        """What the engine side is told. `stops` come from the chat template."""
        return Generation(
            sampling=self.sampling(server.sampling),
            max_tokens=self.n_predict,
            n_probs=self.n_alternatives,
            n=self.n_cmpl,
            stops=tuple(stop for stop in (*self.stop, *stops) if stop),
            stream=self.stream,
            include_usage=self.stream_options.include_usage,
            return_tokens=self.return_tokens,
            timings_per_token=self.timings_per_token,
            response_fields=self.response_fields,
            ping_interval_s=self.sse_ping_interval,
            cache_prompt=self.cache_prompt,
            overflow=self.context_overflow or server.settings.overflow,
            n_keep=self.n_keep,
            priority=self.priority,
        )
