"""A rendered conversation, and the parser of the answer to it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from . import _ffi
from .errors import ClosedError
from .owner import Owner
from .sampling import GrammarTrigger


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
    """The grammar holds from one of its triggers on."""
    grammar_triggers: tuple[GrammarTrigger, ...]
    preserved_tokens: frozenset[int]
    """Control tokens that the parser wants spelled out."""
    thinking_start: str
    thinking_ends: tuple[str, ...]
    """What ends reasoning; empty where the template knows none."""

    @classmethod
    def of_text(cls, text: str) -> ChatPrompt:
        """A text as it stands, by no template."""
        return cls(text, (), "", "", "", False, (), frozenset(), "", ())

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ChatPrompt:
        return cls(
            prompt=data["prompt"],
            stops=tuple(data["stops"]),
            generation_prompt=data["generation_prompt"],
            format=data["format"],
            grammar=data["grammar"],
            grammar_lazy=data["grammar_lazy"],
            grammar_triggers=tuple(GrammarTrigger(**row) for row in data["grammar_triggers"]),
            preserved_tokens=frozenset(data["preserved_tokens"]),
            thinking_start=data["thinking_start"],
            thinking_ends=tuple(data["thinking_ends"]),
        )


@dataclass(frozen=True)
class ChatFacts:
    """What a model's chat templates can do."""

    source: str
    source_tool_use: str
    """Of a template that is used with tools; empty for none."""
    caps: dict[str, bool]
    """llama.cpp's words: `supports_tools`, `supports_parallel_tool_calls` ..."""
    supports_thinking: bool


@dataclass(frozen=True)
class ToolCall:
    """A call that the model wants made; in a delta, what was added to it."""

    id: str
    name: str
    arguments: str
    """JSON, possibly not all of it yet."""


@dataclass(frozen=True)
class MessageDelta:
    """What is new in an answer: one of the three."""

    content: str = ""
    reasoning_content: str = ""
    index: int = -1
    """Of the tool call that grew; -1: none."""
    call: ToolCall | None = None


@dataclass(frozen=True)
class ChatMessage:
    """A whole answer."""

    content: str
    reasoning_content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True)
class Parsed:
    """What one more part of an answer brought."""

    deltas: list[MessageDelta]
    plain: bool
    """All that follows is content: nobody needs to ask any more."""
    message: ChatMessage | None
    """With the last part."""


class ChatParser(Owner):
    """Reads one answer, part by part. From `Model.render_chat`; one thread at a time."""

    def __init__(self, handle: _ffi.Handle) -> None:
        self._lib = _ffi.library()
        self._handle = handle

    def close(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            self._lib.chat_parser_free(handle)

    @property
    def handle(self) -> _ffi.Handle:
        """The native parser. Raises ClosedError after `close()`."""
        if self._handle is None:
            raise ClosedError("the chat parser is closed")
        return self._handle

    def copy(self) -> ChatParser:
        """Another one in the same state, for another answer."""
        handle = _ffi.Handle()
        self._lib.check(self._lib.chat_parser_copy(self.handle, _ffi.byref(handle)))
        return ChatParser(handle)

    def parse(
        self, text: bytes, tokens: Sequence[tuple[int, int]] = (), *, last: bool = False
    ) -> Parsed:
        """Add to the answer.

        Args:
            text: what was added, in whole characters (bytes that are no UTF-8 may be among them).
            tokens: pairs of a byte of `text` and the token that begins there.

        Raises ChatError for an answer that is not in the format of the template.
        """
        ids = _ffi.int32s([token for _, token in tokens])
        offsets = _ffi.int32s([offset for offset, _ in tokens])
        data = json.loads(
            self._lib.text(
                self._lib.chat_parse, self.handle, text, len(text), ids, offsets, len(tokens), last
            )
        )
        message = _message(data["message"]) if last else None
        return Parsed([_delta(row) for row in data["diffs"]], data["plain"], message)


def _delta(row: dict[str, Any]) -> MessageDelta:
    call = ToolCall(**row["call"]) if "call" in row else None
    return MessageDelta(row["content"], row["reasoning_content"], row.get("index", -1), call)


def _message(row: dict[str, Any]) -> ChatMessage:
    calls = tuple(ToolCall(**call) for call in row["tool_calls"])
    return ChatMessage(row["content"], row["reasoning_content"], calls)


def schema_to_grammar(schema: dict[str, Any]) -> str:
    """GBNF of the JSON texts that fit a JSON schema. Raises ArgumentError."""
    lib = _ffi.library()
    return lib.text(lib.json_schema_to_grammar, json.dumps(schema).encode())
