"""Conversations: a prompt from messages, llama-cpp-python's dictionaries from its completion."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..errors import ArgumentError
from .callables import LogitsProcessorList
from .chat_rows import chat_answer, chat_chunks, tool_answer, tool_chunks
from .completion import stop_words
from .formats import write_chat
from .grammar import LlamaGrammar
from .tool_calls import CALLING, answer_with_tools, call_begun

if TYPE_CHECKING:
    from ..model import Model
    from .llama import Llama

Row = dict[str, Any]
ChatHandler = Callable[..., Any]

JSON_SCHEMA: Row = {"type": "object"}
"""Any JSON object."""


@dataclass(frozen=True)
class ChatArguments:
    """Those of `create_chat_completion`, as llama-cpp-python 0.3.36 names and orders them."""

    messages: Sequence[Row]
    functions: Sequence[Row] | None = None
    function_call: str | Row | None = None
    tools: Sequence[Row] | None = None
    tool_choice: str | Row | None = None
    temperature: float = 0.2
    top_p: float = 0.95
    top_k: int = 40
    min_p: float = 0.05
    typical_p: float = 1.0
    stream: bool = False
    stop: str | Sequence[str] | None = ()
    seed: int | None = None
    response_format: Row | None = None
    max_tokens: int | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repeat_penalty: float = 1.0
    tfs_z: float = 1.0
    mirostat_mode: int = 0
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    model: str | None = None
    logits_processor: LogitsProcessorList | None = None
    grammar: LlamaGrammar | None = None
    logit_bias: Mapping[int, float] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None


@dataclass(frozen=True)
class ChatText:
    """A conversation as a prompt."""

    prompt: str
    stops: tuple[str, ...]
    has_bos: bool
    """The beginning of the sequence is in the text."""


def handler_of(llama: Llama) -> ChatHandler:
    """What answers conversations. Raises ArgumentError for a format that there is not."""
    return llama.chat_handler or answer


def answer(llama: Llama, messages: Sequence[Row], **arguments: Any) -> Any:
    """The answer to a conversation by the model's own template, or `chat_format`'s."""
    tools, choice = taken_tools(arguments)
    tool = chosen_tool(tools, choice)
    offered = tools if llama.chat_format == CALLING and choice != "none" else None
    if offered and tool is None:
        return answer_with_tools(llama, messages, offered, choice, arguments)
    text = render(llama, messages, tools)
    if offered and tool is not None:
        text = replace(text, prompt=call_begun(llama, messages, offered, tool["name"]))
    grammar = arguments.pop("grammar", None)
    response_format = arguments.pop("response_format", None)
    if response_format is not None:
        grammar = grammar_of_format(response_format) or grammar
    if tool is not None:
        grammar = LlamaGrammar.from_json_schema(json.dumps(tool.get("parameters") or JSON_SCHEMA))
    stops = stop_words(arguments.pop("stop", None))
    n_top = arguments.pop("top_logprobs", None)
    if not arguments.pop("logprobs", None):
        n_top = None
    elif n_top is None and llama.has_logprobs:
        n_top = 0
    found = llama.create_completion(
        llama.tokenize(text.prompt.encode(), add_bos=not text.has_bos, special=True),
        **arguments,
        stop=[*stops, *text.stops],
        grammar=grammar,
        logprobs=n_top,
    )
    is_stream = bool(arguments.get("stream"))
    if tool is not None:
        name = tool["name"]
        return tool_chunks(name, found) if is_stream else tool_answer(name, found)
    return chat_chunks(found) if is_stream else chat_answer(found)


def taken_tools(arguments: Row) -> tuple[Sequence[Row] | None, Any]:
    """Tools and the choice among them, of the older arguments too; all four are taken out."""
    functions = arguments.pop("functions", None)
    function_call = arguments.pop("function_call", None)
    tools = arguments.pop("tools", None)
    choice = arguments.pop("tool_choice", None)
    if functions is not None:
        tools = [{"type": "function", "function": function} for function in functions]
    if function_call is not None:
        choice = function_call
        if isinstance(function_call, Mapping):
            choice = {"type": "function", "function": {"name": function_call["name"]}}
    return tools, choice


def render(llama: Llama, messages: Sequence[Row], tools: Sequence[Row] | None) -> ChatText:
    """By the template that the file has, or by `chat_format`. Raises ChatError."""
    model = llama._model
    if llama.chat_format is not None:
        name = "chatml" if llama.chat_format == CALLING else llama.chat_format
        prompt, stop = write_chat(name, messages)
        return ChatText(prompt, (stop,) if stop else (), has_bos=False)
    prompt = model.apply_chat_template(messages, tools=tools).prompt
    bos = model.piece(model.bos, special=True).decode() if model.bos >= 0 else ""
    eos = model.piece(model.eos, special=True).decode() if model.eos >= 0 else ""
    has_bos = bool(bos) and prompt.startswith(bos)
    return ChatText(prompt, (eos,) if eos else (), has_bos or not writes_bos(model, bos))


def writes_bos(model: Model, bos: str) -> bool:
    """Whether the file's template writes the beginning of the sequence, which llama.cpp takes away
    where its tokenizer would add it."""
    template = model.chat_template or ""
    return model.add_bos and ("bos_token" in template or (bool(bos) and bos in template))


def chosen_tool(tools: Sequence[Row] | None, choice: Any) -> Row | None:
    """The function that has to be called. Raises ArgumentError for one that there is not."""
    if not isinstance(choice, Mapping) or tools is None:
        return None
    name = choice["function"]["name"]
    for tool in tools:
        if tool["function"]["name"] == name:
            found: Row = tool["function"]
            return found
    raise ArgumentError(f"Tool choice '{name}' not found in tools.")


def grammar_of_format(format: Mapping[str, Any]) -> LlamaGrammar | None:
    """The grammar of a `response_format`, with or without OpenAI's wrapper of the schema; None for
    text. Raises ArgumentError."""
    kind = format.get("type", "text")
    if kind == "text":
        return None
    if kind == "json_schema":
        schema = format.get("json_schema", format).get("schema")
        if schema is None:
            raise ArgumentError(
                f"response_format has no schema: {dict(format)}; give json_schema: {{schema: ...}}"
            )
        return LlamaGrammar.from_json_schema(json.dumps(schema))
    if kind == "json_object":
        return LlamaGrammar.from_json_schema(json.dumps(format.get("schema") or JSON_SCHEMA))
    raise ArgumentError(f"response_format has type {kind!r}: text, json_object or json_schema")
