"""Conversations with tools that the model may call or not, as it sees fit.

A template of our own tells any model of the tools; llama.cpp's grammar and parser for it read the
calls, as for `pannier serve`.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..chat import ChatMessage, ChatParser, ChatPrompt, MessageDelta, ToolCall
from ..errors import ArgumentError
from ..server.message_reader import MessageReader
from ..text import Pieces, TextStream
from .calling_template import END, TEMPLATE
from .chat_rows import Row, call_id, chunk_of, whole
from .completion import closing_source, stop_words
from .sampling import Chain
from .tokens import Wanted, sampled

if TYPE_CHECKING:
    from .llama import Llama

CALLING = "chatml-function-calling"
CHOICES = (None, "auto", "required")
REFUSED = ("response_format", "grammar", "logprobs", "logits_processor")
"""Arguments that would need another grammar, or that of a call at each token in Python."""


@dataclass(frozen=True)
class Task:
    """What one answer is made of."""

    prompt: ChatPrompt
    parser: ChatParser
    tokens: list[int]
    stops: tuple[str, ...]
    wanted: Wanted


@dataclass
class Answer:
    """One answer as it grows."""

    llama: Llama
    task: Task
    model: str
    stream: bool
    id: str = field(default_factory=lambda: f"cmpl-{uuid.uuid4()}")
    created: int = field(default_factory=lambda: int(time.time()))
    n_tokens: int = 0
    finish_reason: str = "length"
    message: ChatMessage = field(default_factory=lambda: ChatMessage(""))

    def deltas(self) -> Iterator[MessageDelta]:
        """What each token brings, and the whole message behind them."""
        task = self.task
        pieces = Pieces(self.llama._model, spelled=task.prompt.preserved_tokens)
        text = TextStream(pieces, task.stops, "surrogateescape")
        reader = MessageReader(task.parser, pieces, stream=self.stream)
        source = sampled(self.llama._computing(), task.tokens, task.wanted)
        with closing_source(source), task.parser:
            for token in source:
                self.n_tokens += 1
                yield from reader.push([token.id], text.push([token.id]))
                if text.stop is not None:
                    break
            yield from reader.push([], text.flush())
            yield from reader.finish()
            self.message = reader.message
        at_limit = text.stop is None and self.n_tokens >= task.wanted.max_tokens
        self.finish_reason = "length" if at_limit else "stop"
        if self.message.tool_calls and not at_limit:
            self.finish_reason = "tool_calls"

    def whole(self) -> Row:
        """A dictionary."""
        for _ in self.deltas():
            pass
        message: Row = {"role": "assistant", "content": self.message.content}
        if self.message.tool_calls:
            calls = [self._call(i, call) for i, call in enumerate(self.message.tool_calls)]
            message |= {"content": self.message.content or None, "tool_calls": calls}
        if len(self.message.tool_calls) == 1:
            message["function_call"] = message["tool_calls"][0]["function"]
        return whole(self._completion(), message, self.finish_reason)

    def chunks(self) -> Iterator[Row]:
        """Dictionaries: the role, what is added, the end."""
        completion = self._completion()
        yield chunk_of(completion, {"role": "assistant"}, None, None)
        for delta in self.deltas():
            row: Row = {"content": delta.content}
            if delta.call is not None:
                part = self._part(delta.index, delta.call)
                row = {"tool_calls": [{"index": delta.index, **part}]}
            yield chunk_of(completion, row, None, None)
        yield chunk_of(completion, {}, None, self.finish_reason)

    def _call(self, index: int, call: ToolCall) -> Row:
        function = {"name": call.name, "arguments": call.arguments}
        id = call_id(call.name, self._completion(), index)
        return {"id": id, "type": "function", "function": function}

    def _part(self, index: int, call: ToolCall) -> Row:
        """The first of a call has its name, the others more of its arguments."""
        if call.name:
            return self._call(index, call)
        return {"function": {"arguments": call.arguments}}

    def _completion(self) -> Row:
        n_prompt, n = len(self.task.tokens), self.n_tokens
        usage = {"prompt_tokens": n_prompt, "completion_tokens": n, "total_tokens": n_prompt + n}
        return {
            "id": self.id,
            "created": self.created,
            "model": self.model,
            "choices": [{"logprobs": None}],
            "usage": usage,
        }


def answer_with_tools(
    llama: Llama,
    messages: Sequence[Row],
    tools: Sequence[Row],
    choice: Any,
    arguments: Mapping[str, Any],
) -> Any:
    """A dictionary, or with `stream` an iterator of them; `arguments` are the other ones of
    `create_chat_completion`. Raises ArgumentError for one that does not go together with tools."""
    for name in REFUSED:
        if arguments.get(name):
            raise ArgumentError(f"{name} and tools do not go together in {CALLING}: leave one out")
    if choice not in CHOICES:
        raise ArgumentError(
            f"tool_choice is {choice!r}: give none, auto, required, or the name of a function as "
            '{"type": "function", "function": {"name": ...}}'
        )
    model = arguments.get("model")
    stream = bool(arguments.get("stream"))
    task = _task(llama, messages, tools, choice or "auto", arguments)
    answer = Answer(llama, task, model if model is not None else llama.model_path, stream)
    return answer.chunks() if stream else answer.whole()


def call_begun(llama: Llama, messages: Sequence[Row], tools: Sequence[Row], name: str) -> str:
    """A prompt behind which the arguments of this function's call come."""
    prompt, parser = _render(llama, messages, tools, "auto")
    parser.close()
    return f'{prompt.prompt}<tool_call>\n{{"name": {json.dumps(name)}, "arguments": '


def _render(
    llama: Llama, messages: Sequence[Row], tools: Sequence[Row], choice: str
) -> tuple[ChatPrompt, ChatParser]:
    """Raises ChatError for what llama.cpp does not take."""
    return llama._model.render_chat(
        {
            "messages": list(messages),
            "tools": list(tools),
            "tool_choice": choice,
            "parallel_tool_calls": choice == "auto",
            "add_generation_prompt": True,
            "reasoning_format": "none",
            "template": TEMPLATE,
        }
    )


def _task(
    llama: Llama,
    messages: Sequence[Row],
    tools: Sequence[Row],
    choice: str,
    arguments: Mapping[str, Any],
) -> Task:
    prompt, parser = _render(llama, messages, tools, choice)
    stops = (*prompt.stops, END, *stop_words(arguments.get("stop")))
    tokens = llama._prompt_tokens(prompt.prompt, None)
    return Task(prompt, parser, tokens, stops, _wanted(llama, prompt, tokens, arguments))


def _wanted(
    llama: Llama, prompt: ChatPrompt, tokens: Sequence[int], arguments: Mapping[str, Any]
) -> Wanted:
    names = ("top_k", "top_p", "min_p", "typical_p", "temperature", "repeat_penalty",
             "frequency_penalty", "presence_penalty", "tfs_z", "mirostat_mode", "mirostat_tau",
             "mirostat_eta")  # fmt: skip
    chain = Chain(*(arguments[name] for name in names))
    last_n = llama._arguments.last_n_tokens_size
    if chain.processor(None, len(tokens), last_n) is not None:
        raise ArgumentError("penalties with mirostat and tools do not go together: leave one out")
    seed = llama._next_seed(arguments.get("seed"))
    return Wanted(
        sampling=chain.params(seed, last_n, None, arguments.get("logit_bias")).with_changes(
            grammar=prompt.grammar,
            grammar_type="tool_calls",
            grammar_lazy=prompt.grammar_lazy,
            grammar_triggers=prompt.grammar_triggers,
            generation_prompt=prompt.generation_prompt,
        ),
        max_tokens=llama._most_tokens(tokens, arguments.get("max_tokens")),
        adapters=llama._adapters,
    )
