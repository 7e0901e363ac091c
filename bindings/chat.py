"""A rendered conversation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ChatPrompt:
    """What a chat template made of a conversation, in llama.cpp's terms."""

    prompt: str
    stops: tuple[str, ...]
    """Texts that end the answer, beside the end-of-generation tokens."""
    generation_prompt: str
    """The part of `prompt` that already belongs to the answer, e.g. `<think>`."""
    format: str
    grammar: str
    """GBNF that the answer must follow; empty without tools or schema."""
    grammar_lazy: bool
    preserved_tokens: tuple[str, ...]

    @classmethod
    def of_text(cls, text: str) -> ChatPrompt:
        """A text as it stands, by no template."""
        return cls(text, (), "", "", "", False, ())

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ChatPrompt:
        return cls(
            prompt=data["prompt"],
            stops=tuple(data["stops"]),
            generation_prompt=data["generation_prompt"],
            format=data["format"],
            grammar=data["grammar"],
            grammar_lazy=data["grammar_lazy"],
            preserved_tokens=tuple(data["preserved_tokens"]),
        )
