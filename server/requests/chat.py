"""The body of `/v1/chat/completions`: a conversation and how to answer it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic import AliasChoices, Field, model_validator
from typing_extensions import Self

from ...chat import ChatPrompt, schema_to_grammar
from ...sampling import Reasoning, SamplingParams
from ..errors import wrong
from ..generation import Generation
from ..state import Serving
from .conversation import ConversationBody
from .generation import GenerationBody
from .types import Limit, Natural


class ChatBody(ConversationBody, GenerationBody):
    """A conversation and how to answer it."""

    logprobs: bool = False
    """Log-probabilities of the answer's tokens. Not in a stream with tools."""
    top_logprobs: Natural = 20
    """So many most likely tokens with each; only with `logprobs`."""
    reasoning_budget_tokens: Limit = Field(
        default=-1,
        validation_alias=AliasChoices("reasoning_budget_tokens", "thinking_budget_tokens"),
    )
    """Most tokens of reasoning, for models that reason; -1: as `--reasoning-budget` says."""
    reasoning_budget_message: str = ""
    """Written before the end of reasoning when the budget is spent. If not said, what
    `--reasoning-budget-message` says."""

    @model_validator(mode="after")
    def _logprobs_go_together(self) -> Self:
        if self.given("top_logprobs") and not self.logprobs:
            raise wrong("top_logprobs", "it together with logprobs: true", self.top_logprobs)
        return self

    @property
    def n_alternatives(self) -> int:
        return self.top_logprobs if self.logprobs else self.n_probs

    def answer(self, server: Serving, chat: ChatPrompt) -> Generation:
        """What the engine side is told. Raises `ArgumentError`."""
        wanted = self.generation(server, chat.stops)
        sampling = wanted.sampling.with_changes(
            **self._grammar_of(chat, wanted.sampling),
            generation_prompt=chat.generation_prompt,
            reasoning=self._reasoning(server, chat),
        )
        return replace(wanted, sampling=sampling)

    def _grammar_of(self, chat: ChatPrompt, sampling: SamplingParams) -> dict[str, Any]:
        if chat.grammar:
            return {
                "grammar": chat.grammar,
                "grammar_type": "tool_calls",
                "grammar_lazy": chat.grammar_lazy,
                "grammar_triggers": chat.grammar_triggers,
            }
        schema = self._schema()
        if schema is None or sampling.grammar:
            return {}
        return {"grammar": schema_to_grammar(schema), "grammar_type": "output_format"}

    def _reasoning(self, server: Serving, chat: ChatPrompt) -> Reasoning | None:
        if not chat.thinking_ends:
            return None
        settings = server.settings.chat
        budget = self.reasoning_budget_tokens
        return Reasoning(
            chat.thinking_start,
            chat.thinking_ends,
            settings.reasoning_budget if budget == -1 else budget,
            self.reasoning_budget_message
            if self.given("reasoning_budget_message")
            else settings.reasoning_budget_message,
        )
