"""Completions in the shapes of a chat's answers, whole and in chunks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Row = dict[str, Any]


def chat_answer(completion: Row) -> Row:
    """A whole completion as a chat's."""
    choice = completion["choices"][0]
    message = {"role": "assistant", "content": choice["text"]}
    return whole(completion, message, choice["finish_reason"])


def tool_answer(name: str, completion: Row) -> Row:
    """A whole completion that is a call's arguments."""
    call = {"name": name, "arguments": completion["choices"][0]["text"]}
    message = {
        "role": "assistant",
        "content": None,
        "function_call": call,
        "tool_calls": [{"id": call_id(name, completion), "type": "function", "function": call}],
    }
    return whole(completion, message, "tool_calls")


def whole(completion: Row, message: Row, finish_reason: str) -> Row:
    return {
        "id": "chat" + completion["id"],
        "object": "chat.completion",
        "created": completion["created"],
        "model": completion["model"],
        "choices": [
            {
                "index": 0,
                "message": message,
                "logprobs": chat_logprobs(completion["choices"][0]["logprobs"]),
                "finish_reason": finish_reason,
            }
        ],
        "usage": completion["usage"],
    }


def chat_logprobs(logprobs: Row | None) -> Row | None:
    """A completion's log-probabilities in a chat's shape."""
    if logprobs is None:
        return None
    rows = zip(
        logprobs["tokens"], logprobs["token_logprobs"], logprobs["top_logprobs"], strict=True
    )
    content = [
        {
            "token": token,
            "bytes": None,
            "logprob": logprob,
            "top_logprobs": [
                {"token": other, "logprob": its, "bytes": None} for other, its in top.items()
            ],
        }
        for token, logprob, top in rows
    ]
    return {"content": content, "refusal": None}


def chat_chunks(chunks: Iterator[Row]) -> Iterator[Row]:
    """A completion's chunks as a chat's: the role first."""
    is_first = True
    for chunk in chunks:
        choice = chunk["choices"][0]
        if is_first:
            yield chunk_of(chunk, {"role": "assistant"}, None, None)
            is_first = False
        ended = choice["finish_reason"]
        delta = {"content": choice["text"]} if ended is None else {}
        yield chunk_of(chunk, delta, chat_logprobs(choice["logprobs"]), ended)


def tool_chunks(name: str, chunks: Iterator[Row]) -> Iterator[Row]:
    """Chunks of a call's arguments."""
    empty = {"content": None, "function_call": None, "tool_calls": None}
    chunk: Row | None = None
    for chunk in chunks:
        choice = chunk["choices"][0]
        if "role" not in empty:
            yield chunk_of(chunk, {"role": "assistant", **empty}, None, None)
            empty = {"role": None, **empty}
        call = {"name": name, "arguments": choice["text"]}
        calls = [{"index": 0, "id": call_id(name, chunk), "type": "function", "function": call}]
        delta = {"role": None, "content": None, "function_call": call, "tool_calls": calls}
        yield chunk_of(chunk, delta, chat_logprobs(choice["logprobs"]), None)
    if chunk is not None:
        yield chunk_of(chunk, empty, None, "tool_calls")


def chunk_of(chunk: Row, delta: Row, logprobs: Row | None, finish_reason: str | None) -> Row:
    return {
        "id": "chat" + chunk["id"],
        "model": chunk["model"],
        "created": chunk["created"],
        "object": "chat.completion.chunk",
        "choices": [
            {
                "index": 0,
                "delta": delta,
                "logprobs": logprobs,
                "finish_reason": finish_reason,
            }
        ],
    }


def call_id(name: str, completion: Row, index: int = 0) -> str:
    return f"call__{index}_{name}_{completion['id']}"
