"""What the operator chose for conversations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class ChatSettings:
    """How conversations become prompts, and answers messages, unless a request says otherwise."""

    template: str = ""
    """In place of the model's own."""
    template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    use_jinja: bool = True
    reasoning: Literal["on", "off", "auto"] = "auto"
    """Whether models think; auto: if the template knows how."""
    reasoning_effort: str = ""
    """A variable of the template; empty: its own."""
    preserve_reasoning: bool | None = None
    """A variable of the template; None: its own."""
    reasoning_format: str = "deepseek"
    reasoning_budget: int = -1
    """Most tokens of reasoning; -1: any number."""
    reasoning_budget_message: str = ""
    skip_parsing: bool = False
    """All of an answer is content."""
    prefill_assistant: bool = True
    """A last message of the assistant's is the beginning of the answer."""

    @property
    def variables(self) -> dict[str, Any]:
        """What the template is told."""
        found = dict(self.template_kwargs)
        if self.reasoning != "auto":
            found["enable_thinking"] = self.reasoning == "on"
        if self.reasoning_effort:
            found["reasoning_effort"] = self.reasoning_effort
        if self.preserve_reasoning is not None:
            found["preserve_reasoning"] = self.preserve_reasoning
        return found
