"""Answers of OpenAI's Responses API."""

from __future__ import annotations

from typing import Any, Literal

from .base import Answer, sometimes
from .generation import Progress, Timings

Status = Literal["in_progress", "completed"]


class ReasoningPart(Answer):
    type: Literal["reasoning_text"]
    text: str


class ReasoningOutput(Answer):
    """What the model thought."""

    id: str
    type: Literal["reasoning"]
    summary: list[Any]
    """Empty."""
    content: list[ReasoningPart]
    encrypted_content: str
    """Empty."""
    status: Status


class OutputTextPart(Answer):
    type: Literal["output_text"]
    text: str
    annotations: list[Any]
    """Empty."""
    logprobs: list[Any]
    """Empty."""


class MessageOutput(Answer):
    """What the model says."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    content: list[OutputTextPart]
    status: Status


class CallOutput(Answer):
    """A call that the model wants made."""

    id: str
    type: Literal["function_call"]
    call_id: str
    """What `function_call_output` has to name."""
    name: str
    arguments: str
    """JSON."""
    status: Status


OutputItem = ReasoningOutput | MessageOutput | CallOutput


class CachedTokens(Answer):
    cached_tokens: int
    """Tokens that the cache had."""


class ReasoningTokens(Answer):
    reasoning_tokens: int
    """Tokens of the reasoning, counted in its text."""


class ResponseUsage(Answer):
    """Counts of tokens."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_tokens_details: CachedTokens
    output_tokens_details: ReasoningTokens


class IncompleteDetails(Answer):
    reason: Literal["max_output_tokens"]


class ResponseHead(Answer):
    """A response that begins."""

    id: str
    object: Literal["response"]
    created_at: int
    """Seconds since 1970."""
    model: str
    parallel_tool_calls: bool
    tool_choice: str | dict[str, Any]
    tools: list[dict[str, Any]]
    """Those of the request."""
    status: Status
    output: list[OutputItem]


class WholeResponse(ResponseHead):
    """The answer."""

    completed_at: int
    """Seconds since 1970."""
    incomplete_details: IncompleteDetails | None
    """Why the answer ended before its end; the `status` is `completed` all the same, as in
    llama-server."""
    usage: ResponseUsage


class ResponseProgress(Answer):
    """Where the whole response is."""

    type: Literal["response.created", "response.in_progress"]
    sequence_number: int
    """Counts the events."""
    response: ResponseHead
    prompt_progress: Progress = sometimes()
    """With `return_progress`."""
    timings: Timings = sometimes()
    """In the last event of a step, with `timings_per_token`."""


class ResponseCompleted(Answer):
    """The last event."""

    type: Literal["response.completed"]
    sequence_number: int
    response: WholeResponse
    timings: Timings


class ItemEvent(Answer):
    """An item begins or ends."""

    type: Literal["response.output_item.added", "response.output_item.done"]
    sequence_number: int
    output_index: int
    """Which item."""
    item: OutputItem
    timings: Timings = sometimes()


class PartEvent(Answer):
    """The text of a message begins or ends."""

    type: Literal["response.content_part.added", "response.content_part.done"]
    sequence_number: int
    output_index: int
    item_id: str
    content_index: int
    part: OutputTextPart
    timings: Timings = sometimes()


class TextDeltaEvent(Answer):
    """New text."""

    type: Literal["response.output_text.delta", "response.reasoning_text.delta"]
    sequence_number: int
    output_index: int
    item_id: str
    content_index: int
    delta: str
    logprobs: list[Any] = sometimes()
    timings: Timings = sometimes()


class TextDoneEvent(Answer):
    """A whole text."""

    type: Literal["response.output_text.done", "response.reasoning_text.done"]
    sequence_number: int
    output_index: int
    item_id: str
    content_index: int
    text: str
    logprobs: list[Any] = sometimes()


class ArgumentsDeltaEvent(Answer):
    """More of a call's arguments."""

    type: Literal["response.function_call_arguments.delta"]
    sequence_number: int
    output_index: int
    item_id: str
    delta: str
    timings: Timings = sometimes()


class ArgumentsDoneEvent(Answer):
    """All of a call's arguments."""

    type: Literal["response.function_call_arguments.done"]
    sequence_number: int
    output_index: int
    item_id: str
    name: str
    arguments: str


ResponseEvent = (
    ResponseProgress
    | ItemEvent
    | PartEvent
    | TextDeltaEvent
    | TextDoneEvent
    | ArgumentsDeltaEvent
    | ArgumentsDoneEvent
    | ResponseCompleted
)
