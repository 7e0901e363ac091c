"""What a chat template is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Conversation:
    """Messages that were checked, and what the template is told beside them."""

    messages: list[dict[str, Any]]
    add_generation_prompt: bool
    template_kwargs: dict[str, Any]
