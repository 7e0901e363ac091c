"""Fields that the three completions share."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, AliasChoices, Field, ValidationInfo

from ..generation import Generation
from ..messages import Adapters, Overflow
from ..state import Serving
from . import not_yet
from .adapters import AdapterScale, scales_of
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
    verbose: bool = False
    """With OpenAI's endpoints: `__verbose`, the answer in `/completion`'s form."""
    return_progress: bool = False
    """In a stream: events that say how far the prompt is, in `prompt_progress`."""
    n_indent: Natural = 0
    """End the answer at the first line, after the first one, that is indented by fewer spaces and
    tabs; 0: never."""
    t_max_predict_ms: Annotated[int, whole(-1)] = 0
    """End the answer at the first new line so many milliseconds after its first token; 0 or -1:
    never."""
    n_discard: Natural = 0
    """Tokens that a shift forgets; 0: half of those that it may."""
    n_cache_reuse: Natural = 0
    """Smallest chunk that llama-server may move inside its cache. pannier moves none, because the
    answer would not be the same: what is reused is a prefix, always."""
    id_slot: Annotated[int, whole(-1)] = -1
    """The slot to run on, waited for if it is at work; -1: any. Numbers beyond the last slot begin
    again at 0."""
    memory: bool = False
    """`memory` in the answer: bytes that the request holds (pannier's own)."""
    cache: bool = False
    """`cache` in the answer: what of the prompt was there, and why the rest had to be computed
    (pannier's own)."""
    n_keep: Limit = 0
    """Tokens at the start that a shift keeps; -1: the whole prompt."""
    priority: Annotated[int, whole(-1000, 1000)] = 0
    """Who waits starts in order of priority, then of arrival."""

    lora: list[AdapterScale] = Field(default_factory=list)
    """LoRA adapters to answer with, and their scales; those that are not named have none. Without
    it the scales of `/lora-adapters` hold."""

    @property
    def n_alternatives(self) -> int:
        """Log-probabilities wanted with each token."""
        return self.n_probs

    def generation(self, server: Serving, stops: tuple[str, ...] = ()) -> Generation:
        """What the engine side is told. `stops` come from the chat template."""
        settings = server.settings
        own_stops = tuple(filter(None, self.stop)) or settings.stops
        sampling = self.sampling(server.sampling)
        if sampling.ignore_eos:
            bias = {**sampling.logit_bias, **server.never_end}
            sampling = sampling.with_changes(logit_bias=bias)

        def given(name: str, default: Any) -> Any:
            return getattr(self, name) if self.given(name) else default

        return Generation(
            sampling=sampling,
            max_tokens=self.n_predict if self.n_predict != -1 else settings.n_predict,
            n_probs=self.n_alternatives,
            n=self.n_cmpl,
            stops=tuple(stop for stop in (*own_stops, *stops) if stop),
            stream=self.stream,
            include_usage=self.stream_options.include_usage,
            return_tokens=self.return_tokens,
            timings_per_token=self.timings_per_token,
            response_fields=self.response_fields,
            ping_interval_s=given("sse_ping_interval", settings.ping_interval_s),
            cache_prompt=given("cache_prompt", settings.cache_prompt),
            overflow=self.context_overflow or settings.overflow,
            n_keep=given("n_keep", settings.n_keep),
            priority=self.priority,
            adapters=self._adapters(server),
            lora=tuple(sorted(scales_of(self.lora).items())),
            verbose=self.verbose,
            return_progress=self.return_progress,
            n_indent=self.n_indent,
            t_max_predict_ms=self.t_max_predict_ms,
            n_discard=self.n_discard,
            slot=self.id_slot,
            report_memory=self.memory,
            report_cache=self.cache,
            backend_sampling=self.backend_sampling,
        )

    def _adapters(self, server: Serving) -> Adapters:
        if self.lora:
            return server.adapters.chosen(scales_of(self.lora))
        return server.adapters.defaults
