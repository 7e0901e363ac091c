"""What a real server answers is what the document says, and every example gets an answer."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import TypeAdapter

from pannier.engine import Engine
from pannier.server.app import openapi_document
from pannier.server.endpoint import ENDPOINTS, Endpoint
from pannier.server.responses.completion import Completion, CompletionChunk
from pannier.server.responses.error import ErrorAnswer

from .conftest import events
from .test_clients import Server, post, request, serving

pytestmark = pytest.mark.engine

USER = [{"role": "user", "content": "Hello"}]
GENERATING = [
    {"n_predict": 3},
    {"n_predict": 3, "n": 2},
    {"n_predict": 3, "n_probs": 2, "timings_per_token": True},
    {"n_predict": 3, "n_probs": 2, "post_sampling_probs": True, "verbose": True},
    {"n_predict": 3, "memory": True, "cache": True},
    {"n_predict": 3, "stop": ["a"], "return_tokens": True, "logit_bias": [[5, False], [6, 2]]},
]
STREAMING = [
    *({**body, "stream": True} for body in GENERATING),
    {"n_predict": 3, "stream": True, "return_progress": True},
    {"n_predict": 3, "stream": True, "stream_options": {"include_usage": True}},
]
BODIES: dict[str, list[dict[str, Any]]] = {
    "/completion": [{"prompt": "a", **body} for body in (*GENERATING, *STREAMING)]
    + [{"prompt": ["a", "b"], "n_predict": 2}, {"prompt": [1, 2], "n_predict": 0}],
    "/v1/completions": [{"prompt": "a", **body} for body in (*GENERATING, *STREAMING)],
    "/v1/chat/completions": [{"messages": USER, **body} for body in (*GENERATING, *STREAMING)]
    + [{"messages": USER, "logprobs": True, "top_logprobs": 2, "n_predict": 2}],
    "/tokenize": [{}, {"content": "Hello"}, {"content": "é", "with_pieces": True}],
}
"""Variants beside the examples, so that every field of an answer is seen."""
STRICT: dict[str, tuple[Any, Any]] = {
    # `Selected` would let everything pass
    "/completion": (Completion | list[Completion], CompletionChunk | Completion),
}


@pytest.fixture(scope="module")
def server(cpu_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    flags = ["--metrics", "--props", "--slot-save-path", str(tmp_path_factory.mktemp("slots"))]
    with serving(cpu_engine, "-c", "4096", "-np", "2", "-t", "1", *flags) as server:
        yield server


def send(server: Server, path: str, body: Any = None) -> tuple[int, str, bytes]:
    """Status, content type and content."""
    data = None if body is None else json.dumps(body).encode()
    url = f"http://127.0.0.1:{server.port}{path}"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=60) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read()


def check(path: str, endpoint: Endpoint, kind: str, content: bytes) -> None:
    """The content is of the endpoint's models."""
    answer, event = STRICT.get(path, (endpoint.answer, endpoint.event))
    if kind == "text/event-stream":
        found = [one for one in events(content) if one != "[DONE]"]
        assert found
        TypeAdapter(list[event]).validate_json(json.dumps(found))  # type: ignore[valid-type]
    elif kind.startswith("application/json"):
        TypeAdapter(answer).validate_json(content)
    else:
        assert kind.startswith(endpoint.media_type)


def endpoints() -> Iterator[tuple[str, Endpoint]]:
    """Each path, but for aliases."""
    paths = openapi_document()["paths"]
    by_name = {handler.__name__: endpoint for handler, endpoint in ENDPOINTS.items()}
    for path, methods in paths.items():
        for operation in methods.values():
            if "x-alias-of" not in operation:
                yield path, by_name[operation["operationId"]]


def cases() -> list[Any]:
    return [
        pytest.param(path, endpoint, body, id=f"{path}-{json.dumps(body)}")
        for path, endpoint in endpoints()
        for body in (endpoint.example, *BODIES.get(path, ()))
        if not endpoint.needs
    ]


@pytest.mark.parametrize(("path", "endpoint", "body"), cases())
def test_answers_are_as_described(path: str, endpoint: Endpoint, body: Any, server: Server) -> None:
    status, kind, content = send(server, endpoint.example_path or path, body)
    assert status == 200, content
    check(path, endpoint, kind, content)


def test_reports_while_somebody_is_at_work(server: Server) -> None:
    async def reports() -> tuple[Any, Any]:
        async with post(server.port, "/completion", request([5, 6, 7], 3000)) as reader:
            await reader.readuntil(b"data: ")
            memory = await asyncio.to_thread(send, server, "/memory")
            return memory, await asyncio.to_thread(send, server, "/slots")

    known = dict(endpoints())
    for path, (_, kind, content) in zip(("/memory", "/slots"), asyncio.run(reports()), strict=True):
        check(path, known[path], kind, content)
        assert b'"id_task":' in content or b'"client":"127.0.0.1:' in content


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/completion", {"prompt": "a", "top_k": "x"}),
        ("/completion", {"prompt": [5] * 5000}),
        ("/completion", {"prompt": "a", "grammar": "no grammar"}),
        ("/v1/chat/completions", {"messages": []}),
        ("/nothing", None),
        ("/health", {}),
    ],
)
def test_errors_are_as_described(path: str, body: Any, server: Server) -> None:
    status, _, content = send(server, path, body)
    assert 400 <= status < 500
    error = ErrorAnswer.model_validate_json(content)
    assert error.error.code == status


def test_selected_fields(server: Server) -> None:
    body = {"prompt": "a", "n_predict": 2, "response_fields": ["content", "timings/prompt_n"]}
    _, kind, content = send(server, "/completion", body)
    assert list(json.loads(content)) == body["response_fields"]
    assert kind.startswith("application/json")
