"""Bad input gets an error of its own, in OpenAI's shape, and never a 500."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from pannier.server.messages import Output, Submit

from .conftest import N_CTX_SLOT, N_SLOTS, serving, steps

CHAT = "/v1/chat/completions"
USER = [{"role": "user", "content": "a"}]


def send(path: str, content: bytes, reply: Any = None, **settings: Any) -> Any:
    async def run() -> Any:
        async with serving(reply or steps("ok"), **settings) as world:
            return await world.http.post(path, content=content)

    return asyncio.run(run())


def error_of(answer: Any) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    body = answer.json()
    assert list(body) == ["error"]
    assert body["error"]["code"] == answer.status_code
    error: dict[str, Any] = body["error"]
    return error


FIELDS = [
    ({"prompt": "a", "top_k": "x"}, "'top_k'", "'x'"),
    ({"prompt": "a", "top_k": True}, "'top_k'", "True"),
    ({"prompt": "a", "top_k": 1.5}, "'top_k'", "1.5"),
    ({"prompt": "a", "n_predict": -5}, "'n_predict'", "-5"),
    ({"prompt": "a", "max_tokens": -5}, "'max_tokens'", "-5"),
    ({"prompt": "a", "n": 99}, "'n'", f"from 1 to {N_SLOTS}"),
    ({"prompt": "a", "n": 0}, "'n'", "0"),
    ({"prompt": "a", "stream": "yes"}, "'stream'", "'yes'"),
    ({"prompt": "a", "stop": [1]}, "'stop'", "[1]"),
    ({"prompt": "a", "seed": "x"}, "'seed'", "'x'"),
    ({"prompt": "a", "grammar": 1}, "'grammar'", "1"),
    ({"prompt": "a", "samplers": ["top_k", "magic"]}, "'samplers'", "'magic'"),
    ({"prompt": "a", "dry_sequence_breakers": []}, "'dry_sequence_breakers'", "[]"),
    ({"prompt": "a", "logit_bias": [[999, 1]]}, "'logit_bias'", "999"),
    ({"prompt": "a", "logit_bias": [[1, "x"]]}, "'logit_bias'", "'x'"),
    ({"prompt": "a", "logit_bias": 3}, "'logit_bias'", "3"),
    ({"prompt": "a", "repeat_last_n": -1}, "'repeat_last_n'", "-1"),
    ({"prompt": "a", "temperature": 10**400}, "'temperature'", "1000"),
    ({"prompt": "a", "min_keep": 2**40}, "'min_keep'", str(2**40)),
    ({"prompt": "a", "n_predict": 2**31}, "'n_predict'", str(2**31)),
    ({}, "'prompt' is required", ""),
    ({"prompt": None}, "'prompt' is required", ""),
    ({"prompt": []}, '"prompt" must not be empty', ""),
    ({"prompt": [[]]}, '"prompt" must not be empty', ""),
    ({"prompt": {"a": 1}}, "'prompt'", "{'a': 1}"),
    ({"prompt": 5}, "'prompt'", "5"),
    ({"prompt": [1, None]}, "'prompt'", "None"),
    ({"prompt": [1.5]}, "'prompt'", "1.5"),
    ({"prompt": [999]}, "'prompt'", "999 is not in the vocabulary (0 to 257)"),
    ({"prompt": [-1]}, "'prompt'", "-1"),
    ({"prompt": {"prompt_string": "a", "multimodal_data": ["x"]}}, "'multimodal_data'", "x"),
    ({"prompt": "a", "n_indent": -4}, "'n_indent'", "-4"),
    (
        {"prompt": "a", "stream_options": {"include_usage": 1}},
        "'stream_options.include_usage'",
        "1",
    ),
    ({"prompt": "a", "stream_options": 1}, "'stream_options'", "an object"),
    ({"prompt": "a", "context_overflow": "x"}, "'context_overflow'", "'stop', 'shift' or 'error'"),
    ({"prompt": "a", "logprobs": "x"}, "'logprobs'", "a whole number"),
    ({"prompt": "a", "top_p": 1e39}, "'top_p'", "a number"),
    ({"prompt": "a", "lora": [{"id": 0, "scale": 1}]}, "'lora'", "no adapter 0"),
    ({"prompt": "a", "json_schema": 3}, "'json_schema'", "3"),
    ({"prompt": "a", "t_max_predict_ms": -5}, "'t_max_predict_ms'", "-5"),
    ({"prompt": "a", "post_sampling_probs": 1}, "'post_sampling_probs'", "1"),
]

CHAT_FIELDS = [
    ({}, "'messages' is required", ""),
    ({"messages": []}, "'messages'", "[]"),
    ({"messages": "a"}, "'messages'", "'a'"),
    ({"messages": [1]}, "'messages[0]'", "1"),
    ({"messages": [{"content": "a"}]}, "'messages[0].role' is required", ""),
    ({"messages": [{"role": "user"}]}, "messages[0] has no 'content'", ""),
    ({"messages": [{"role": "user", "content": 1}]}, "'messages[0].content'", "1"),
    ({"messages": [{"role": "user", "content": ["a"]}]}, "'messages[0].content[0]'", "'a'"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        "'messages[0].content[0].type'",
        "'image_url'",
    ),
    ({"messages": [{"role": "robot", "content": "a"}]}, "unknown role 'robot'", ""),
    ({"messages": USER, "tools": "f"}, "'tools'", "'f'"),
    ({"messages": USER, "tool_choice": "perhaps"}, "'tool_choice'", "perhaps"),
    ({"messages": USER, "tool_choice": {"function": {"name": "fly"}}}, "tool_choice", "'fly'"),
    ({"messages": USER, "response_format": {"type": "xml"}}, "'response_format.type'", "xml"),
    ({"messages": USER, "top_logprobs": 3}, "'top_logprobs'", "3"),
    ({"messages": USER, "logprobs": 3}, "'logprobs'", "3"),
    ({"messages": USER, "chat_template_kwargs": 1}, "'chat_template_kwargs'", "1"),
    ({"messages": USER, "chat_template_kwargs": {"enable_thinking": "a"}}, "thinking", "'a'"),
    ({"messages": USER, "reasoning_format": "loud"}, "'reasoning_format'", "loud"),
]


@pytest.mark.parametrize(
    ("path", "body", "field", "value"),
    [("/completion", *case) for case in FIELDS]
    + [("/v1/completions", *case) for case in FIELDS[:4]]
    + [("/v1/completions", {"prompt": "a", "best_of": 3}, "'best_of'", "3")]
    + [(CHAT, *case) for case in CHAT_FIELDS]
    + [(CHAT, {"messages": USER, **FIELDS[0][0]}, "'top_k'", "'x'")]
    + [("/apply-template", *case) for case in CHAT_FIELDS[:4]]
    + [
        ("/tokenize", {"content": 5}, "'content'", "5"),
        ("/tokenize", {"content": "a", "add_special": 1}, "'add_special'", "1"),
        ("/detokenize", {"tokens": "a"}, "'tokens'", "'a'"),
        ("/detokenize", {"tokens": [1, 300]}, "'tokens'", "300"),
        ("/detokenize", {"tokens": [True]}, "'tokens'", "True"),
    ],
)
def test_wrong_fields(path: str, body: dict[str, Any], field: str, value: str) -> None:
    error = error_of(send(path, json.dumps(body).encode()))
    assert (error["code"], error["type"]) == (400, "invalid_request_error")
    assert field in error["message"]
    assert value in error["message"]


@pytest.mark.parametrize("path", ["/completion", "/v1/completions", CHAT, "/tokenize"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{bad",
        b"[1]",
        b"3",
        b'{"prompt": NaN}',
        b'{"prompt": "\xff"}',
        b'{"prompt": "\\ud800", "content": "\\ud800"}',
        b"[" * 100_000,
        b'{"prompt": ' + b"1" * 5000 + b"}",
    ],
)
def test_bodies_that_are_no_json_object(path: str, content: bytes) -> None:
    assert error_of(send(path, content))["type"] == "invalid_request_error"


def test_body_over_the_limit() -> None:
    answer = send("/completion", b'{"prompt": "' + b"a" * 100 + b'"}', max_body_bytes=100)
    assert (error_of(answer)["code"], answer.status_code) == (413, 413)


@pytest.mark.parametrize("stream", [False, True])
def test_prompt_over_the_context(stream: bool) -> None:
    body = {"prompt": [1] * N_CTX_SLOT, "stream": stream}
    assert error_of(send("/completion", json.dumps(body).encode())) == {
        "code": 400,
        "message": f"request ({N_CTX_SLOT} tokens) exceeds the available context size "
        f"({N_CTX_SLOT} tokens), try increasing it",
        "type": "exceed_context_size_error",
        "n_prompt_tokens": N_CTX_SLOT,
        "n_ctx": N_CTX_SLOT,
    }


@pytest.mark.parametrize(
    "path", ["/completion", "/v1/completions", CHAT, "/v1/responses", "/v1/messages"]
)
@pytest.mark.parametrize("stream", [False, True])
def test_the_engine_refuses(path: str, stream: bool) -> None:
    """Before the first text an error is a response, of a stream too."""

    def refuse(submit: Submit) -> Output:
        return Output(0, finish="error", error="grammar: expected ')'", status=400)

    asked = {"prompt": "a"} if "completion" in path else {"input": "a"}
    body = json.dumps({**asked, "messages": USER, "stream": stream}).encode()
    error = error_of(send(path, body, refuse))
    assert (error["code"], error["message"]) == (400, "grammar: expected ')'")


def test_unknown_path_and_method() -> None:
    assert error_of(send("/nothing", b"{}")) == {
        "code": 404,
        "message": "File Not Found",
        "type": "not_found_error",
    }
    answer = send("/health", b"{}")
    assert error_of(answer)["code"] == 405
    assert answer.headers["allow"] == "GET"
