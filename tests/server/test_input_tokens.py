"""Lengths of prompts, without an answer."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import letters
from .test_completion import post

HI = [{"role": "user", "content": "hi"}]
N_TOKENS = len(b"u:hi\na:") + 1
COUNTED = {"input_tokens": N_TOKENS, "object": "response.input_tokens"}


@pytest.mark.parametrize(
    ("path", "body", "want"),
    [
        ("/v1/chat/completions/input_tokens", {"messages": HI}, COUNTED),
        ("/chat/completions/input_tokens", {"messages": HI}, COUNTED),
        ("/v1/responses/input_tokens", {"input": "hi"}, COUNTED),
        ("/responses/input_tokens", {"input": "hi", "max_output_tokens": 3}, COUNTED),
        ("/v1/messages/count_tokens", {"messages": HI}, {"input_tokens": N_TOKENS}),
    ],
)
def test_counts(path: str, body: dict[str, Any], want: dict[str, Any]) -> None:
    answer, seen = post(path, body, letters("a"))
    assert answer.json() == want
    assert not any(hasattr(message, "prompt") for message in seen)


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/chat/completions/input_tokens", "messages"),
        ("/v1/responses/input_tokens", "input"),
        ("/v1/messages/count_tokens", "messages"),
    ],
)
def test_refused(path: str, field: str) -> None:
    answer, _ = post(path, {}, letters("a"))
    assert answer.status_code == 400
    assert f"'{field}' is required" in answer.json()["error"]["message"]
