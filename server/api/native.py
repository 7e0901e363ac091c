"""An answer in the form of `/completion`: there, and as `__verbose` of other endpoints."""

from __future__ import annotations

from typing import Any

from ..choice import Choice, Delta
from ..shapes import probs_json, reports_json, settings_json, timings_json
from ..state import Serving

NO_NEWS = Delta("", [0], [])
"""llama-server's token where there is none."""


def native_chunk(choice: Choice, delta: Delta, server: Serving) -> dict[str, Any]:
    """New text of a stream."""
    chunk = _chunk(choice, delta)
    if choice.wanted.timings_per_token:
        chunk["timings"] = timings_json(choice.timings)
    if delta.probs:
        probs = probs_json(delta.probs, server.pieces, post=choice.wanted.post_probs)
        chunk["completion_probabilities"] = probs
    return chunk


def native_progress(choice: Choice) -> dict[str, Any]:
    """How far the prompt is."""
    progress = {"prompt_progress": choice.progress}
    if choice.wanted.timings_per_token:
        progress["timings"] = timings_json(choice.timings)
    return {**_chunk(choice, NO_NEWS), **progress}


def _chunk(choice: Choice, delta: Delta) -> dict[str, Any]:
    return {
        "index": choice.index,
        "content": delta.text,
        "tokens": delta.tokens,
        "stop": False,
        "id_slot": choice.slot,
        "tokens_predicted": choice.n_predicted,
        "tokens_evaluated": len(choice.prompt),
    }


def native_final(choice: Choice, server: Serving) -> dict[str, Any]:
    """The whole answer; the last event of a stream has no text."""
    wanted = choice.wanted
    final: dict[str, Any] = {
        "index": choice.index,
        "content": choice.text,
        "tokens": [] if wanted.stream else choice.tokens,
        "id_slot": choice.slot,
        "stop": True,
        "model": server.settings.model_name,
        "tokens_predicted": choice.n_predicted,
        "tokens_evaluated": len(choice.prompt),
        "generation_settings": settings_json(wanted),
        "prompt": server.all_pieces.join(choice.prompt).decode("utf-8", "replace"),
        "has_new_line": choice.has_new_line,
        "truncated": choice.truncated,
        "stop_type": choice.stop_type,
        "stopping_word": choice.stopping_word,
        "tokens_cached": len(choice.prompt) + max(choice.n_predicted - 1, 0),
        "timings": timings_json(choice.timings),
        **reports_json(choice),
    }
    if choice.probs:
        probs = probs_json(choice.probs, server.pieces, post=wanted.post_probs)
        final["completion_probabilities"] = probs
    return _only(final, wanted.response_fields)


def _only(answer: dict[str, Any], paths: tuple[str, ...]) -> dict[str, Any]:
    """The fields that were asked for; slashes reach inside, absent ones are left out."""
    if not paths:
        return answer
    found: dict[str, Any] = {}
    for path in paths:
        value: Any = answer
        for key in path.split("/"):
            value = value.get(key, found) if isinstance(value, dict) else found
        if value is not found:
            found[path] = value
    return found
