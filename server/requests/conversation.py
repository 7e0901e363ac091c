"""A conversation, and what changes how it is rendered: the body of `/apply-template`.

Messages are checked before a template sees them; what else they carry goes with them.
Source of the rules: `oaicompat_chat_params_parse` in llama.cpp's `tools/server/server-common.cpp`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, with_config
from typing_extensions import NotRequired, TypedDict

from ..conversation import Conversation
from ..errors import ApiError
from ..state import Serving
from . import not_yet
from .base import RequestBody

OPEN = ConfigDict(extra="allow", strict=True)
Continuation = bool | Literal["content", "reasoning_content"]
ReasoningFormat = Literal["none", "auto", "deepseek", "deepseek-legacy"]


@with_config(OPEN)
class TextPart(TypedDict):
    """A part of a message."""

    type: Literal["text"]
    text: str


@with_config(OPEN)
class Message(TypedDict):
    """Who says what. A message without `content` needs `tool_calls`."""

    role: str
    content: NotRequired[str | list[TextPart] | None]


@with_config(OPEN)
class SchemaWrapper(TypedDict):
    """OpenAI's wrapper of a JSON schema."""

    schema: NotRequired[dict[str, Any]]


@with_config(OPEN)
class ResponseFormat(TypedDict):
    """Text, any JSON object, or JSON that fits a schema."""

    type: NotRequired[Literal["", "text", "json_object", "json_schema"]]
    schema: NotRequired[dict[str, Any]]
    json_schema: NotRequired[SchemaWrapper]


def _contents(messages: list[Message]) -> list[Message]:
    for i, message in enumerate(messages):
        if "content" not in message and not message.get("tool_calls"):
            raise ApiError(f"messages[{i}] has no 'content'")
    return messages


def _name_of(tool: dict[str, Any]) -> str | None:
    """The function's name, in the form of `/v1/chat/completions` or of `/v1/responses`."""
    function = tool.get("function", tool)
    name = function.get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) else None


class ConversationBody(RequestBody):
    """Messages and what the model's template is told beside them."""

    section = "Conversation"
    not_yet = not_yet.CHAT

    messages: Annotated[list[Message], Field(min_length=1), AfterValidator(_contents)]
    """The conversation so far; `content` is a string or a list of parts of type `text`. If the
    last one is the assistant's, the answer goes on with it (`--no-prefill-assistant`: not)."""
    tools: list[dict[str, Any]] = Field(default_factory=list)
    """Functions that the model may call, in OpenAI's form."""
    tool_choice: Literal["auto", "none", "required"] | dict[str, Any] = "auto"
    """Whether the model may, must not or must call one. An object that names a function has it
    called: the others are left out, and a form of text does not count. Any other object counts
    as `auto`."""
    parallel_tool_calls: bool = False
    """Several calls in one answer. If not said, what the template can do; of a function that
    `tool_choice` names, one."""
    response_format: ResponseFormat = Field(default_factory=ResponseFormat)
    """The form of the answer: `text`, `json_object` (with or without a `schema`) or
    `json_schema`."""
    json_schema: dict[str, Any] = Field(default_factory=dict)
    """A JSON schema that the answer fits; `response_format` comes before it."""
    grammar: str = ""
    """A GBNF grammar that the answer follows. Not together with tools or a schema."""
    add_generation_prompt: bool = True
    """End the prompt where the assistant begins."""
    continue_final_message: Continuation = False
    """Go on with the last message: with its `reasoning_content` or its `content`; true chooses.
    Needs `add_generation_prompt: false`."""
    echo: bool = False
    """Stream the message that is continued, too."""
    reasoning_format: ReasoningFormat = "deepseek"
    """Where reasoning goes: `none` leaves it in `content`, the others put it in
    `reasoning_content`. `--reasoning-format` says the default."""
    reasoning_effort: str = ""
    """A variable of the template; `none` has the model not think."""
    chat_template_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Variables of the template, such as `enable_thinking` (true or false)."""

    def conversation(self, server: Serving) -> Conversation:
        """What a chat template is given. Raises `ApiError`."""
        chat = server.settings.chat
        if not chat.use_jinja and (self.tools or self.tool_choice != "auto"):
            raise ApiError("tools and tool_choice need the server's --jinja")
        kwargs = self._template_kwargs(server)
        continuation = self._continuation(server)
        tools, tool_choice = self._calls()
        return Conversation(
            {
                "messages": [dict(message) for message in self.messages],
                "tools": tools,
                "tool_choice": tool_choice,
                "parallel_tool_calls": self._parallel(server),
                "json_schema": self._schema() if self._named is None else None,
                "grammar": self._grammar(),
                "add_generation_prompt": self.add_generation_prompt and not continuation,
                "continue_final_message": continuation,
                "echo": self.echo,
                "reasoning_format": self.reasoning_format
                if self.given("reasoning_format")
                else chat.reasoning_format,
                "enable_thinking": self._thinks(kwargs, server),
                "chat_template_kwargs": kwargs,
                "use_jinja": chat.use_jinja,
                "skip_parsing": chat.skip_parsing,
            }
        )

    @property
    def _named(self) -> str | None:
        """The function that has to be called."""
        return None if isinstance(self.tool_choice, str) else _name_of(self.tool_choice)

    def _calls(self) -> tuple[list[dict[str, Any]], str]:
        """The tools to choose from, and whether to."""
        if self._named is None:
            return self.tools, self.tool_choice if isinstance(self.tool_choice, str) else "auto"
        names = [_name_of(tool) for tool in self.tools]
        if self._named not in names:
            raise ApiError(f"tool_choice names {self._named!r}; the functions in tools are {names}")
        return [self.tools[names.index(self._named)]], "required"

    def _template_kwargs(self, server: Serving) -> dict[str, Any]:
        kwargs = {**server.settings.chat.variables, **self.chat_template_kwargs}
        if self.reasoning_effort == "none":
            kwargs.pop("reasoning_effort", None)
        elif self.reasoning_effort:
            kwargs["reasoning_effort"] = self.reasoning_effort
        return kwargs

    def _thinks(self, kwargs: dict[str, Any], server: Serving) -> bool:
        wanted = kwargs.get("enable_thinking")
        if isinstance(wanted, str):
            raise ApiError(
                'invalid type for "enable_thinking" (expected boolean, got string): '
                f"{wanted!r}; use true or false"
            )
        if self.reasoning_effort == "none":
            return False
        if isinstance(wanted, bool):
            return wanted
        chat = server.settings.chat
        return (
            chat.reasoning != "off"
            and chat.use_jinja
            and server.vocabulary.chat_facts.supports_thinking
        )

    def _parallel(self, server: Serving) -> bool:
        if self.given("parallel_tool_calls"):
            return self.parallel_tool_calls
        return self._named is None and server.vocabulary.chat_facts.caps.get(
            "supports_parallel_tool_calls", False
        )

    def _schema(self) -> dict[str, Any] | None:
        """The schema of the answer; None for any text. An empty one asks for any object."""
        schema = self.json_schema if self.given("json_schema") else None
        if schema is not None and self.grammar:
            raise ApiError("Cannot use both json_schema and grammar")
        wanted = self.response_format
        if wanted.get("type") == "json_object" and ("schema" in wanted or not schema):
            schema = wanted.get("schema", {})
        elif wanted.get("type") == "json_schema":
            schema = wanted.get("json_schema", {}).get("schema", {})
        return {"type": "object"} if schema == {} else schema

    def _grammar(self) -> str:
        if self.tools and self.tool_choice != "none" and self.given("grammar"):
            raise ApiError("Cannot use custom grammar constraints with tools.")
        return self.grammar

    def _continuation(self, server: Serving) -> Continuation:
        wanted, messages = self.continue_final_message, self.messages
        is_last = messages[-1]["role"] == "assistant"
        if wanted and self.add_generation_prompt:
            raise ApiError(
                "Cannot set both add_generation_prompt and continue_final_message to true."
            )
        if not wanted and is_last and server.settings.chat.prefill_assistant:
            if len(messages) > 1 and messages[-2]["role"] == "assistant":
                raise ApiError("Cannot have 2 or more assistant messages at the end of the list.")
            wanted = True
        if wanted and is_last and messages[-1].get("tool_calls"):
            raise ApiError("Cannot continue an assistant message that contains tool calls.")
        return wanted
