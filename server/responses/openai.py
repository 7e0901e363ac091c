"""Answers of OpenAI's endpoints."""

from __future__ import annotations

from typing import Literal

from .base import Answer, sometimes
from .completion import Completion, CompletionChunk, Selected
from .generation import Progress, Reports, Timings, TokenProb, Usage

FinishReason = Literal["stop", "length"]
ChatFinishReason = Literal["stop", "length", "tool_calls"]


class Logprobs(Answer):
    content: list[TokenProb]


class Head(Answer):
    """What every answer of OpenAI's endpoints begins with."""

    id: str
    """The same in every chunk of a stream."""
    created: int
    """Seconds since 1970."""
    model: str
    system_fingerprint: str
    """llama.cpp's build."""
    verbose: Completion | CompletionChunk | Selected = sometimes("__verbose")
    """With `verbose`: the same in `/completion`'s form."""
    prompt_progress: Progress = sometimes()
    """In chunks before the first token, with `return_progress`."""


class TextChoice(Reports):
    """One answer."""

    text: str
    index: int
    """Which answer: prompt by prompt, `n` for each."""
    logprobs: Logprobs | None
    finish_reason: FinishReason
    """`length`: it got as long as asked, or the context was full."""


class TextCompletion(Head):
    """All answers."""

    object: Literal["text_completion"]
    choices: list[TextChoice]
    usage: Usage
    timings: Timings
    """llama-server's, of the first answer."""


class TextDelta(Reports):
    """New text of an answer."""

    text: str
    index: int
    logprobs: Logprobs | None
    finish_reason: FinishReason | None
    """Null in all chunks but the last one."""


class TextCompletionChunk(Head):
    """An event of the stream."""

    object: Literal["text_completion"]
    choices: list[TextDelta]
    usage: Usage = sometimes()
    """In the last one of each answer."""
    timings: Timings = sometimes()
    """In the last one of each answer; in every one with `timings_per_token`."""


class FunctionCall(Answer):
    """What to call, and with what."""

    name: str
    arguments: str
    """JSON."""


class ToolCall(Answer):
    """A call that the model wants made."""

    type: Literal["function"]
    function: FunctionCall
    id: str


class AssistantMessage(Answer):
    """What the model says."""

    role: Literal["assistant"]
    content: str
    reasoning_content: str = sometimes()
    """What the model thought before, where `reasoning_format` asks for it apart."""
    tool_calls: list[ToolCall] = sometimes()


class ChatChoice(Reports):
    """One answer."""

    finish_reason: ChatFinishReason
    """`length`: it got as long as asked, or the context was full."""
    index: int
    message: AssistantMessage
    logprobs: Logprobs = sometimes()
    """With `logprobs` or `n_probs`."""


class ChatCompletion(Head):
    """All answers."""

    object: Literal["chat.completion"]
    choices: list[ChatChoice]
    usage: Usage
    timings: Timings
    """llama-server's, of the first answer."""


class FunctionDelta(Answer):
    """What a chunk adds to what is called."""

    name: str = sometimes()
    """With the first chunk of a call."""
    arguments: str = sometimes()


class CallDelta(Answer):
    """What a chunk adds to a call."""

    index: int
    """Which call."""
    id: str = sometimes()
    """With the first chunk of a call."""
    type: Literal["function"] = sometimes()
    function: FunctionDelta = sometimes()


class MessageDelta(Answer):
    """What a chunk adds to the message: first the role, then text or calls, nothing at the end."""

    role: Literal["assistant"] = sometimes()
    content: str | None = sometimes()
    reasoning_content: str = sometimes()
    tool_calls: list[CallDelta] = sometimes()


class ChatDelta(Reports):
    """What a chunk adds to an answer."""

    finish_reason: ChatFinishReason | None
    """Null in all chunks but the last one."""
    index: int
    delta: MessageDelta
    logprobs: Logprobs = sometimes()


class ChatCompletionChunk(Head):
    """An event of the stream."""

    object: Literal["chat.completion.chunk"]
    choices: list[ChatDelta]
    """Empty in the chunk with the usage."""
    usage: Usage = sometimes()
    """In a chunk of its own, with `include_usage`."""
    timings: Timings = sometimes()
    """In the last chunk; in every one with `timings_per_token`."""
