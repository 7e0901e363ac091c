"""What a client asked for: llama-server's completion fields as one checked object.

Source of names, aliases, defaults and ranges: `make_llama_cmpl_schema` in
llama.cpp's `tools/server/server-schema.cpp`. Unknown fields are ignored, as
there; fields that llama-server has and pannier has not are refused as soon as
they ask for anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast, get_args

from ..sampling import DEFAULT_SAMPLERS, DEFAULT_SEED, SamplingParams
from .errors import not_supported
from .fields import (
    Body,
    Number,
    boolean,
    integer,
    mapping,
    strings,
    text,
    whole,
    wrong,
)
from .logit_bias import read_logit_bias
from .messages import Overflow
from .state import Serving

N_PROBS_DEFAULT = 20  # alternatives that a chat request with only `logprobs` gets

SAMPLING_NUMBERS = (
    whole("top_k", 0, clamp=True),
    Number("top_p", "", 0, 1, clamp=True),
    Number("min_p", "", 0, 1, clamp=True),
    Number("top_n_sigma"),
    Number("xtc_probability", "", 0, 1, clamp=True),
    Number("xtc_threshold", "", 0, 1, clamp=True),
    Number("typical_p"),
    Number("temperature", "", 0, clamp=True),
    Number("dynatemp_range"),
    Number("dynatemp_exponent"),
    whole("repeat_last_n", 0),
    Number("repeat_penalty"),
    Number("frequency_penalty"),
    Number("presence_penalty"),
    Number("dry_multiplier"),
    Number("dry_base"),
    whole("dry_allowed_length", 0),
    whole("dry_penalty_last_n", 0),
    whole("mirostat", 0, 2, clamp=True),
    Number("mirostat_tau"),
    Number("mirostat_eta"),
    whole("min_keep", 0),
)

SEED = whole("seed", -(2**63), 2**64 - 1)
N_PREDICT = whole("n_predict", -1)
N_PROBS = whole("n_probs", 0)
N_KEEP = whole("n_keep", -1)
PRIORITY = whole("priority", -1000, 1000)
PING = whole("sse_ping_interval", -1)


def _is(*allowed: Any) -> Callable[[Any], bool]:
    return lambda value: value in allowed


NOT_YET: dict[str, Callable[[Any], bool]] = {
    # field of llama-server -> "this value asks for nothing"
    "verbose": _is(False),
    "return_progress": _is(False),
    "n_indent": _is(0),
    "n_discard": _is(0),
    "n_cache_reuse": _is(0),
    "t_max_predict_ms": lambda value: isinstance(value, (int, float)) and value <= 0,
    "adaptive_target": lambda value: isinstance(value, (int, float)) and value < 0,
    "backend_sampling": _is(False),
    "post_sampling_probs": _is(False),
    "lora": _is([]),
    "json_schema": _is(),
    "grammar_lazy": _is(False),
    "grammar_triggers": _is([]),
    "preserved_tokens": _is([]),
    "reasoning_format": _is("none", "auto"),
    "reasoning_control": _is(False),
    "reasoning_budget_tokens": _is(-1),
    "thinking_budget_tokens": _is(-1),
    "continue_final_message": _is(False),
    "echo": _is(False),
    "response_format": _is({}, {"type": "text"}),
    "tools": _is([]),
    "functions": _is([]),
    "multimodal_data": _is([]),
}

SAMPLER_CHARS = {
    "e": "penalties",
    "d": "dry",
    "s": "top_n_sigma",
    "k": "top_k",
    "y": "typ_p",
    "p": "top_p",
    "m": "min_p",
    "x": "xtc",
    "t": "temperature",
}


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

    @property
    def whole(self) -> bool:
        """Nobody looks at the tokens before the last one: neither a client nor a stop string."""
        return not self.stream and not self.stops


def read_generation(
    body: Body, server: Serving, *, chat: bool = False, stops: tuple[str, ...] = ()
) -> Generation:
    """Check every field. `stops` come from the chat template. Raises `ApiError`."""
    refuse_not_yet(body)
    return Generation(
        sampling=read_sampling(body, server),
        max_tokens=integer(
            body, N_PREDICT, server.settings.n_predict, "max_completion_tokens", "max_tokens"
        ),
        n_probs=_chat_probs(body) if chat else _probs(body),
        n=integer(body, whole("n_cmpl", 1, server.info.n_slots), 1, "n"),
        stops=_stops(body, server, stops),
        stream=boolean(body, "stream"),
        include_usage=boolean(mapping(body, "stream_options"), "include_usage"),
        return_tokens=boolean(body, "return_tokens"),
        timings_per_token=boolean(body, "timings_per_token"),
        response_fields=strings(body, "response_fields"),
        ping_interval_s=integer(body, PING, server.settings.ping_interval_s),
        cache_prompt=boolean(body, "cache_prompt", server.settings.cache_prompt),
        overflow=_overflow(body, server),
        n_keep=integer(body, N_KEEP, server.settings.n_keep),
        priority=integer(body, PRIORITY, 0),
    )


def _stops(body: Body, server: Serving, of_template: tuple[str, ...]) -> tuple[str, ...]:
    """The request's, or else the server's, and those of the chat template."""
    given = strings(body, "stop") or server.settings.stops
    return tuple(stop for stop in (*given, *of_template) if stop)


def _overflow(body: Body, server: Serving) -> Overflow:
    """What to do when the context is full: the request's word, else the server's."""
    wanted = text(body, "context_overflow", server.settings.overflow)
    for known in get_args(Overflow):
        if wanted == known:
            return cast(Overflow, known)
    raise wrong("context_overflow", " or ".join(map(repr, get_args(Overflow))), wanted)


def refuse_not_yet(body: Body) -> None:
    """Raises `ApiError` for a field that asks for what pannier cannot do."""
    for name, asks_nothing in NOT_YET.items():
        value = body.get(name)
        if value is not None and not asks_nothing(value):
            raise not_supported(name, value)


def read_sampling(body: Body, server: Serving) -> SamplingParams:
    """The sampler chain: the server's defaults with the request's changes."""
    base = server.sampling
    changes: dict[str, Any] = {}
    for spec in SAMPLING_NUMBERS:
        if body.get(spec.name) is not None:
            changes[spec.name] = spec.read(body[spec.name])
    if changes.get("dry_base", 1.0) < 1.0:
        changes["dry_base"] = base.dry_base  # as llama-server: too small means the default
    breakers = body.get("dry_sequence_breakers")
    if breakers is not None:
        changes["dry_sequence_breakers"] = _breakers(body)
    if body.get("samplers") is not None:
        changes["samplers"] = _samplers(body)
    if body.get("logit_bias") is not None:
        changes["logit_bias"] = read_logit_bias(body["logit_bias"], server.vocabulary)
    return base.with_changes(
        **changes,
        seed=_seed(body, base.seed),
        grammar=text(body, "grammar", base.grammar),
        ignore_eos=boolean(body, "ignore_eos", base.ignore_eos),
    )


def _seed(body: Body, default: int) -> int:
    """Any whole number; -1 draws a random one."""
    return integer(body, SEED, default) & DEFAULT_SEED


def _breakers(body: Body) -> tuple[str, ...]:
    found = strings(body, "dry_sequence_breakers")
    if not found or isinstance(body["dry_sequence_breakers"], str):
        raise wrong(
            "dry_sequence_breakers", "a list of strings, not empty", body["dry_sequence_breakers"]
        )
    return found


def _samplers(body: Body) -> tuple[str, ...]:
    """Names in order, or one string of llama.cpp's sampler letters."""
    value = body["samplers"]
    if isinstance(value, str):
        names = tuple(SAMPLER_CHARS.get(letter, letter) for letter in value)
    else:
        names = strings(body, "samplers")
    for name in names:
        if name not in DEFAULT_SAMPLERS:
            raise wrong("samplers", f"names out of {', '.join(DEFAULT_SAMPLERS)}", name)
    return names


def _probs(body: Body) -> int:
    """`n_probs`, or `logprobs` as in OpenAI's legacy completions: a count."""
    if body.get("n_probs") is None and isinstance(body.get("logprobs"), bool):
        return int(body["logprobs"])
    return integer(body, N_PROBS, 0, "logprobs")


def _chat_probs(body: Body) -> int:
    """`logprobs` with `top_logprobs` as in OpenAI's chat, or `n_probs`."""
    if boolean(body, "logprobs"):
        return integer(body, whole("top_logprobs", 0), N_PROBS_DEFAULT)
    if body.get("top_logprobs") is not None:
        raise wrong("top_logprobs", "it together with logprobs: true", body["top_logprobs"])
    return integer(body, N_PROBS, 0)
