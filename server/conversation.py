"""What a chat template is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Conversation:
    """A conversation that was checked, with all that changes how it is rendered."""

    request: dict[str, Any]
    """As `Model.render_chat` takes it."""

    @property
    def messages(self) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = self.request["messages"]
        return messages

    def beginning(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        """The request for the first of the messages, without an answer to them."""
        rest = {"add_generation_prompt": False, "continue_final_message": False}
        return {**self.request, "messages": messages, **rest}
