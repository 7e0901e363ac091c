"""How a prompt looks in JSON. `prompts.py` reads it, with the vocabulary."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import WithJsonSchema

TEXT_OR_TOKENS = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "array",
            "items": {"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 0}]},
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
