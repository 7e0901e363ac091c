"""Tokens to text and back."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import BOS, EOS, steps
from .test_completion import post


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        ({"content": "ab"}, [97, 98]),
        ({"content": "ab", "add_special": True}, [BOS, 97, 98]),
        ({"content": "<s>a"}, [BOS, 97]),
        ({"content": "<s>", "parse_special": False}, list(b"<s>")),
        ({"content": ["a", 5, "b"]}, [97, 5, 98]),
        ({"content": ""}, []),
        ({}, []),
        (
            {"content": "é", "with_pieces": True},
            [{"id": 195, "piece": [195]}, {"id": 169, "piece": [169]}],
        ),
        ({"content": "a", "with_pieces": True}, [{"id": 97, "piece": "a"}]),
    ],
)
def test_tokenize(body: dict[str, Any], tokens: list[Any]) -> None:
    assert post("/tokenize", body, steps("ok"))[0].json() == {"tokens": tokens}


def test_a_long_text_is_tokenised_elsewhere() -> None:
    answer, _ = post("/tokenize", {"content": "a" * 50_000}, steps("ok"))
    assert answer.json() == {"tokens": [97] * 50_000}


@pytest.mark.parametrize(
    ("body", "content"),
    [
        ({"tokens": [97, EOS, 98]}, "a</s>b"),
        ({"tokens": [195]}, "\ufffd"),
        ({"tokens": []}, ""),
        ({}, ""),
    ],
)
def test_detokenize(body: dict[str, Any], content: str) -> None:
    assert post("/detokenize", body, steps("ok"))[0].json() == {"content": content}
