"""Parts that several responses share, with llama-server's field names.

Source: `to_json` functions of llama.cpp's `tools/server/server-task.cpp` and
`server-common.cpp`.
"""

from __future__ import annotations

import math
import secrets
import string
from collections.abc import Iterable, Sequence
from typing import Any

from ..sampling import GrammarTrigger, SamplingParams
from ..text import Pieces
from .choice import Choice
from .generation import Generation
from .messages import Timings, TokenLogprob
from .state import Serving

LETTERS = string.digits + string.ascii_letters
LEADS = ((0xE0, 0xC0, 2), (0xF0, 0xE0, 3), (0xF8, 0xF0, 4))
"""First bytes of characters of so many bytes: a mask, and what it leaves."""
LOWEST_FLOAT = -3.4028234663852886e38  # JSON has no -inf


def new_id(prefix: str) -> str:
    """An id as llama-server draws them."""
    return prefix + "".join(secrets.choice(LETTERS) for _ in range(32))


def completion_id() -> str:
    """A new id of an answer."""
    return new_id("chatcmpl-")


def timings_json(timings: Timings) -> dict[str, Any]:
    """Counts, milliseconds and rates; drafts only where there were any."""
    return {
        "cache_n": timings.cache_n,
        "cache_reason": timings.cache_reason,
        "prompt_n": timings.prompt_n,
        **_rates("prompt", timings.prompt_n, timings.prompt_s),
        "predicted_n": timings.predicted_n,
        # the first token comes with the prompt, so it is no step of its own
        **_rates("predicted", max(timings.predicted_n - 1, 0), timings.predicted_s),
        **_drafts(timings),
    }


def _drafts(timings: Timings) -> dict[str, int]:
    if not timings.draft_n:
        return {}
    return {"draft_n": timings.draft_n, "draft_n_accepted": timings.draft_n_accepted}


def _rates(name: str, n_steps: int, seconds: float) -> dict[str, float]:
    return {
        f"{name}_ms": seconds * 1e3,
        f"{name}_per_token_ms": seconds * 1e3 / n_steps if n_steps else 0.0,
        f"{name}_per_second": n_steps / seconds if seconds > 0 else 0.0,
    }


def probs_json(
    probs: Iterable[TokenLogprob], pieces: Pieces, *, post: bool = False
) -> list[dict[str, Any]]:
    """Each token's log-probability with the best alternatives; `post`: its probability after the
    samplers."""
    name = "prob" if post else "logprob"
    return [
        {
            **_prob(p.token, p.logprob, pieces, name),
            f"top_{name}s": [_prob(token, value, pieces, name) for token, value in p.top],
        }
        for p in probs
    ]


def _prob(token: int, value: float, pieces: Pieces, name: str) -> dict[str, Any]:
    piece = pieces[token]
    return {
        "id": token,
        "token": whole_characters(piece).decode("utf-8", "replace"),
        "bytes": list(piece),
        name: value if math.isfinite(value) else LOWEST_FLOAT,
    }


def whole_characters(piece: bytes) -> bytes:
    """Without the beginning of a character whose end another token has."""
    for n in range(1, min(len(piece), 4) + 1):
        lead = piece[-n]
        n_bytes = next((size for mask, mark, size in LEADS if lead & mask == mark), 0)
        if n_bytes > n:
            return piece[:-n]
    return piece


def cache_json(choice: Choice) -> dict[str, Any]:
    """What of a prompt was there, and why the rest was not."""
    timings = choice.timings
    return {
        "n_reused": timings.cache_n,
        "n_computed": timings.prompt_n,
        "reason": timings.cache_reason,
        "drift_at": timings.drift_at if timings.drift_at >= 0 else None,
    }


def reports_json(choice: Choice) -> dict[str, Any]:
    """The blocks that a request asked for beside its answer."""
    blocks: dict[str, Any] = {}
    if choice.wanted.report_memory:
        blocks["memory"] = choice.memory
    if choice.wanted.report_cache:
        blocks["cache"] = cache_json(choice)
    return blocks


def usage_json(choices: Sequence[Choice], n_per_prompt: int) -> dict[str, Any]:
    """OpenAI's token counts; a prompt that has several answers counts once."""
    prompts = choices[::n_per_prompt]
    n_prompt = sum(len(choice.prompt) for choice in prompts)
    n_output = sum(choice.n_predicted for choice in choices)
    return {
        "completion_tokens": n_output,
        "prompt_tokens": n_prompt,
        "total_tokens": n_prompt + n_output,
        "prompt_tokens_details": {
            "cached_tokens": sum(choice.timings.cache_n for choice in prompts)
        },
    }


def prompt_usage_json(n_tokens: int) -> dict[str, Any]:
    """OpenAI's token counts of what has no output."""
    return {"prompt_tokens": n_tokens, "total_tokens": n_tokens}


def list_json(model: Any, server: Serving) -> dict[str, Any]:
    """The head of a list, with the model's name as the request has it."""
    return {
        "model": model if isinstance(model, str) else server.settings.model_name,
        "object": "list",
    }


def finish_reason(choice: Choice) -> str:
    """OpenAI's word for why an answer ended."""
    if choice.stop_type == "limit":
        return "length"
    return "tool_calls" if choice.has_tool_calls else "stop"


def settings_json(wanted: Generation, *, brief: bool = False) -> dict[str, Any]:
    """`generation_settings`; `brief` leaves out what can be long, as `/props` and `/slots` do."""
    settings = {**_sampling_json(wanted.sampling), **_limits_json(wanted)}
    if brief:
        for name in LONG_SETTINGS:
            del settings[name]
    return settings


LONG_SETTINGS = (
    "dry_sequence_breakers",
    "stop",
    "logit_bias",
    "grammar",
    "grammar_lazy",
    "grammar_triggers",
    "preserved_tokens",
)


def _sampling_json(sampling: SamplingParams) -> dict[str, Any]:
    return {
        "seed": sampling.seed,
        "temperature": sampling.temperature,
        "dynatemp_range": sampling.dynatemp_range,
        "dynatemp_exponent": sampling.dynatemp_exponent,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
        "min_p": sampling.min_p,
        "top_n_sigma": sampling.top_n_sigma,
        "xtc_probability": sampling.xtc_probability,
        "xtc_threshold": sampling.xtc_threshold,
        "typical_p": sampling.typical_p,
        "repeat_last_n": sampling.repeat_last_n,
        "repeat_penalty": sampling.repeat_penalty,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "dry_multiplier": sampling.dry_multiplier,
        "dry_base": sampling.dry_base,
        "dry_allowed_length": sampling.dry_allowed_length,
        "dry_penalty_last_n": sampling.dry_penalty_last_n,
        "dry_sequence_breakers": list(sampling.dry_sequence_breakers),
        "mirostat": sampling.mirostat,
        "mirostat_tau": sampling.mirostat_tau,
        "mirostat_eta": sampling.mirostat_eta,
        "adaptive_target": sampling.adaptive_target,
        "adaptive_decay": sampling.adaptive_decay,
        "ignore_eos": sampling.ignore_eos,
        "min_keep": sampling.min_keep,
        "samplers": list(sampling.samplers),
        "logit_bias": [
            {"bias": bias if math.isfinite(bias) else None, "token": token}
            for token, bias in sampling.logit_bias.items()
        ],
        "grammar": sampling.grammar,
        "grammar_lazy": sampling.grammar_lazy,
        "grammar_triggers": [_trigger_json(trigger) for trigger in sampling.grammar_triggers],
        "generation_prompt": sampling.generation_prompt,
    }


def _trigger_json(trigger: GrammarTrigger) -> dict[str, Any]:
    shape: dict[str, Any] = {"type": trigger.type, "value": trigger.value}
    return shape if trigger.token < 0 else {**shape, "token": trigger.token}


def _limits_json(wanted: Generation) -> dict[str, Any]:
    """The request's own, and llama-server's fields that are fixed here."""
    return {
        "stop": list(wanted.stops),
        "max_tokens": wanted.max_tokens,
        "n_predict": wanted.max_tokens,
        "stream": wanted.stream,
        "n_probs": wanted.n_probs,
        "timings_per_token": wanted.timings_per_token,
        "cache_prompt": wanted.cache_prompt,
        "context_overflow": wanted.overflow,
        "priority": wanted.priority,
        "n_keep": wanted.n_keep,
        "n_discard": wanted.n_discard,
        "preserved_tokens": sorted(wanted.preserved),
        "chat_format": "Content-only",
        "reasoning_format": "none",
        "reasoning_in_content": False,
        "speculative.types": "none",
        "post_sampling_probs": wanted.post_probs,
        "backend_sampling": wanted.backend_sampling,
        "lora": [{"id": id, "scale": scale} for id, scale in wanted.lora],
    }
