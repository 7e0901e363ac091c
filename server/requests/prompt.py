"""How a prompt looks in JSON. `prompts.py` reads it, with the vocabulary."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import WithJsonSchema

from .types import INT32_MAX

TOKEN = {"type": "integer", "minimum": 0, "maximum": INT32_MAX}
TEXT_OR_TOKENS: dict[str, list[dict[str, Any]]] = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "array",
            "items": {"anyOf": [{"type": "string"}, TOKEN]},
        },
    ]
}
ONE = {
    "anyOf": [
        *TEXT_OR_TOKENS["anyOf"],
        {
            "type": "object",
            "properties": {"prompt_string": {"type": "string"}},
            "required": ["prompt_string"],
        },
    ]
}

PARTS = {
    "type": "object",
    "properties": {
        "content": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
                "required": ["type"],
            },
        }
    },
    "required": ["content"],
}
INPUT = {"anyOf": [*ONE["anyOf"], PARTS]}

Inputs = Annotated[
    Any,
    WithJsonSchema(
        {
            "anyOf": [*INPUT["anyOf"], {"type": "array", "items": INPUT}],
            "x-type": "string, list of tokens, list mixing both, object, list of such",
        }
    ),
]
Content = Annotated[
    Any, WithJsonSchema({**TEXT_OR_TOKENS, "x-type": "string, list of tokens, list mixing both"})
]
Prompts = Annotated[
    Any,
    WithJsonSchema(
        {
            "anyOf": [*ONE["anyOf"], {"type": "array", "items": ONE}],
            "x-type": "string, list of tokens, list mixing both, list of such",
        }
    ),
]
