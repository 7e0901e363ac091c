"""Fields of a completion that hold its text to a form.

Source of names and rules: `make_llama_cmpl_schema` in llama.cpp's `tools/server/server-schema.cpp`.
In a chat, the template and `tools` say what these say here.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AliasChoices, Field, with_config
from typing_extensions import NotRequired, TypedDict

from ...chat import schema_to_grammar
from ...sampling import GrammarTrigger, Reasoning
from ..errors import ApiError
from ..state import Vocabulary
from .base import RequestBody
from .conversation import OPEN
from .types import Limit, Strings

TOKEN, WORD = 0, 1


@with_config(OPEN)
class Trigger(TypedDict):
    """What has a lazy grammar begin: type 0 is a token, type 1 a word."""

    type: Literal[0, 1]
    value: str
    token: NotRequired[int]


class ConstraintBody(RequestBody):
    """What holds a text to a form, beside `grammar`."""

    json_schema: dict[str, Any] | None = None
    """A JSON schema that the text fits, where no `grammar` is given; `{}`: any object."""
    grammar_lazy: bool = False
    """The grammar holds from one of its triggers on."""
    grammar_triggers: list[Trigger] = Field(default_factory=list)
    """What has a lazy grammar begin. A word that is a single token has to be preserved, too."""
    preserved_tokens: Strings = ()
    """Control tokens that are spelled out in the text."""
    reasoning_budget_tokens: Limit = -1
    """Most tokens of reasoning between the two tags; -1: any number."""
    reasoning_budget_start_tag: str = ""
    """What begins reasoning."""
    reasoning_budget_end_tags: Strings = Field(
        default=(),
        validation_alias=AliasChoices("reasoning_budget_end_tags", "reasoning_budget_end_tag"),
    )
    """What ends it; the first is written when the budget is spent."""
    reasoning_budget_message: str = ""
    """Written before that."""

    def preserved(self, vocabulary: Vocabulary) -> frozenset[int]:
        """Tokens that are spelled out: texts of several tokens are none."""
        found = [_tokens(text, vocabulary) for text in self.preserved_tokens]
        return frozenset(tokens[0] for tokens in found if len(tokens) == 1)

    def constraint(self, grammar: str, vocabulary: Vocabulary) -> dict[str, Any]:
        """Fields of `SamplingParams`. Raises `ApiError` and `ArgumentError`."""
        if self.grammar_lazy and not self.grammar_triggers:
            raise ApiError("Field 'grammar_triggers': a lazy grammar needs at least one")
        changes: dict[str, Any] = {
            "grammar_lazy": self.grammar_lazy,
            "grammar_triggers": tuple(
                self._trigger(trigger, vocabulary) for trigger in self.grammar_triggers
            ),
        }
        if self.json_schema is not None and not grammar:
            schema = self.json_schema or {"type": "object"}
            changes |= {"grammar": schema_to_grammar(schema), "grammar_type": "output_format"}
        if self.reasoning_budget_start_tag and self.reasoning_budget_end_tags:
            changes["reasoning"] = Reasoning(
                self.reasoning_budget_start_tag,
                self.reasoning_budget_end_tags,
                self.reasoning_budget_tokens,
                self.reasoning_budget_message,
            )
        return changes

    def _trigger(self, trigger: Trigger, vocabulary: Vocabulary) -> GrammarTrigger:
        value = trigger["value"]
        if trigger["type"] == TOKEN:
            return GrammarTrigger(TOKEN, value, trigger.get("token", -1))
        tokens = _tokens(value, vocabulary)
        if len(tokens) != 1:
            return GrammarTrigger(WORD, value)
        if tokens[0] not in self.preserved(vocabulary):
            raise ApiError(f"Grammar trigger word should be marked as preserved token: {value}")
        return GrammarTrigger(TOKEN, value, tokens[0])


def _tokens(text: str, vocabulary: Vocabulary) -> list[int]:
    return vocabulary.tokenize(text, add_special=False, parse_special=True)
