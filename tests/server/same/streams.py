"""Streams as what they add up to: how many pieces a text came in is each server's own affair."""

from __future__ import annotations

import json
from typing import Any

OURS = ("response.reasoning_text.done", "response.function_call_arguments.done")
"""Events of OpenAI's that llama-server does not send."""


def read_events(text: str) -> list[Any]:
    """The data of server-sent events; the mark of the end stays text."""
    found = []
    for block in text.split("\n\n"):
        for line in block.splitlines():
            if line.startswith("data: "):
                data = line.removeprefix("data: ")
                found.append(data if data == "[DONE]" else json.loads(data))
    return found


def summed_up(events: list[Any]) -> dict[str, Any]:
    """What the pieces of each answer add up to, and the events that are more than pieces."""
    sums: dict[int, dict[str, Any]] = {}
    others = []
    for event in events:
        if isinstance(event, dict) and event.get("type") in OURS:
            continue
        piece = _piece(event)
        if piece is None:
            others.append(event)
        else:
            index, added = piece
            total = sums.setdefault(index, {})
            for key, value in added.items():
                total[key] = total[key] + value if key in total else value
    return {"answers": [sums[index] for index in sorted(sums)], "others": others}


def _piece(event: Any) -> tuple[int, dict[str, Any]] | None:
    """Which answer an event adds to, and what; None for the others."""
    if isinstance(event, dict) and str(event.get("type", "")).endswith("delta"):
        return _typed(event)
    if not isinstance(event, dict) or "prompt_progress" in event:
        return None
    if event.get("stop") is False:
        probs = event.get("completion_probabilities", [])
        return event["index"], {
            "content": event["content"],
            "tokens": event["tokens"],
            "completion_probabilities": probs,
        }
    choices = event.get("choices") or [{}]
    choice = choices[0]
    if "text" in choice and choice["finish_reason"] is None:
        return choice["index"], {"text": choice["text"], "logprobs": _content(choice)}
    delta = choice.get("delta", {})
    if delta.keys() == {"content"} and isinstance(delta["content"], str):
        return choice["index"], {"content": delta["content"], "logprobs": _content(choice)}
    return None


def _content(choice: dict[str, Any]) -> list[Any]:
    return list((choice.get("logprobs") or {}).get("content", []))


def _typed(event: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
    """Of OpenAI's responses and Anthropic's messages."""
    delta = event["delta"]
    if isinstance(delta, str):
        return 0, {event["type"]: delta}
    if event["type"] == "content_block_delta":
        return event["index"], {key: value for key, value in delta.items() if key != "type"}
    return None
