"""The body of OpenAI's `/v1/responses`: a conversation in items, and how to answer it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field, GetJsonSchemaHandler, with_config
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from typing_extensions import NotRequired, TypedDict

from . import not_yet
from .base import RequestBody
from .chat import ChatBody
from .conversation import OPEN
from .response_items import InputItem, messages_of
from .types import Limit


@with_config(OPEN)
class ReasoningOptions(TypedDict):
    """How much the model thinks."""

    effort: NotRequired[str | None]


@with_config(OPEN)
class TextFormat(TypedDict):
    """Text, any JSON object, or JSON that fits a schema."""

    type: Literal["text", "json_object", "json_schema"]
    schema: NotRequired[dict[str, Any] | None]


@with_config(OPEN)
class TextOptions(TypedDict):
    """What the text is like."""

    format: NotRequired[TextFormat | None]


class ResponsesBody(RequestBody):
    """Fields of `/v1/chat/completions` count here too, but for `messages`."""

    model_config = ConfigDict(extra="allow")

    not_yet = not_yet.RESPONSES

    input: str | list[InputItem]
    """What the user says, or the conversation so far: messages, calls and what they returned,
    reasoning. Items of earlier answers can be given back as they are."""
    instructions: str = ""
    """A system message before it."""
    tools: list[dict[str, Any]] = Field(default_factory=list)
    """Tools that the model may call; those of a type other than `function` are left out."""
    max_output_tokens: Limit = -1
    """Most tokens of the answer; -1: until the model ends it or the context is full."""
    reasoning: ReasoningOptions = Field(default_factory=ReasoningOptions)
    """`effort` is a variable of the template; `none` has the model not think."""
    text: TextOptions = Field(default_factory=TextOptions)
    """`format` is the form of the answer; it comes before `response_format`."""

    def chat(self) -> dict[str, Any]:
        """The same as the body of `/v1/chat/completions`."""
        chat = {**(self.model_extra or {}), **self._form()}
        chat["messages"] = [*self._instructions(), *messages_of(self.input)]
        tools = [_function(tool) for tool in self.tools if tool.get("type") == "function"]
        if tools:
            chat["tools"] = tools
        if self.given("max_output_tokens"):
            chat["max_tokens"] = self.max_output_tokens
        if self.reasoning.get("effort") is not None:
            chat["reasoning_effort"] = self.reasoning["effort"]
        return chat

    def _instructions(self) -> list[dict[str, Any]]:
        if not self.given("instructions"):
            return []
        return [{"role": "system", "content": self.instructions}]

    def _form(self) -> dict[str, Any]:
        form = self.text.get("format")
        if form is None or form["type"] == "text":
            return {}
        schema = form.get("schema") or {}
        return {"response_format": {"type": form["type"], "json_schema": {"schema": schema}}}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Its own fields and the chat's."""
        found = super().__get_pydantic_json_schema__(schema, handler)
        chat = ChatBody.__get_pydantic_json_schema__(ChatBody.__pydantic_core_schema__, handler)
        shared = {name: field for name, field in chat["properties"].items() if name != "messages"}
        found["properties"] = {**found["properties"], **shared, **found["properties"]}
        return found


def _function(tool: dict[str, Any]) -> dict[str, Any]:
    function = {"strict": True, **tool}
    del function["type"]
    return {"type": "function", "function": function}
