"""Tools, reasoning and structured output from a real engine, and beside llama-server."""

from __future__ import annotations

import asyncio
import functools
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import httpx
import jsonschema  # type: ignore[import-untyped]
import openai
import pytest
from pydantic import BaseModel, Field

from pannier import Model
from pannier.engine import Engine, source_tree

from .conftest import events
from .llama_server import TINY, llama_client
from .test_clients import Server, serving

pytestmark = pytest.mark.engine

N_SCHEMAS = 200
FLAGS = ("-t", "1", "-tb", "1", "-c", "16384", "-np", "8")
CITY = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 8},
        "days": {"type": "integer", "minimum": 1, "maximum": 14},
    },
    "required": ["city"],
}
DATES = {
    "type": "object",
    "properties": {"on": {"type": "array", "maxItems": 3, "items": {"enum": ["Mo", "Tu", "We"]}}},
    "required": ["on"],
}
TOOLS: Any = [
    {"type": "function", "function": {"name": "weather", "description": "d", "parameters": CITY}},
    {"type": "function", "function": {"name": "book", "description": "d", "parameters": DATES}},
]
ASKED: Any = [{"role": "user", "content": "Rain in Bonn?"}]
BEGUN = [*ASKED, {"role": "assistant", "content": "It will"}]
THOUGHT = [*ASKED, {"role": "assistant", "content": "", "reasoning_content": "Let me"}]
CALLING = [{"role": "assistant", "content": "<tool_call>\n"}]
FORMAT = {"type": "json_schema", "json_schema": {"name": "city", "schema": CITY}}


@functools.cache
def readable() -> list[list[Any]]:
    """Biases that keep a random model to ASCII: what is no UTF-8 counts by other rules."""
    with Model(TINY, vocab_only=True, devices=("none",)) as model:
        pieces = {token: model.piece(token) for token in range(model.n_vocab)}
    odd = [token for token, piece in pieces.items() if not piece.isascii() or piece < b" "]
    return [[token, False] for token in odd if pieces[token] not in (b"", b"\n")]


def template(name: str) -> Path:
    return source_tree() / "models" / "templates" / f"{name}.jinja"


QWEN = "Qwen-Qwen3-0.6B"


@pytest.fixture(scope="module")
def server(tools_engine: Engine) -> Iterator[Server]:
    """`pannier serve` with a template that knows tools and reasoning."""
    flags = (*FLAGS, "--chat-template-file", str(template(QWEN)))
    with serving(tools_engine, *flags, model=TINY) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=60) as client:
        yield client


def sdk(server: Server) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key="none")


def ask(client: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = client.post("/v1/chat/completions", json={"messages": ASKED, **body})
    assert answer.status_code == 200, answer.text
    choice: dict[str, Any] = answer.json()["choices"][0]
    return choice


def streamed(answer: httpx.Response) -> dict[int, dict[str, Any]]:
    """The choices that a stream's deltas make, without the ids of calls."""
    choices: dict[int, dict[str, Any]] = {}
    for chunk in events(answer.content):
        if chunk == "[DONE]" or "error" in chunk:
            continue
        for part in chunk["choices"]:
            empty: dict[str, Any] = {"content": "", "reasoning_content": "", "tool_calls": {}}
            choice = choices.setdefault(part["index"], {**empty, "finish_reason": None})
            choice["finish_reason"] = part["finish_reason"] or choice["finish_reason"]
            delta = part["delta"]
            for name in ("content", "reasoning_content"):
                choice[name] += delta.get(name) or ""
            for call in delta.get("tool_calls", ()):
                known = choice["tool_calls"].setdefault(call["index"], {})
                for name, text in call.get("function", {}).items():
                    known[name] = known.get(name, "") + text
    return choices


def whole(answer: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """The choices of a whole answer, in the same form."""
    return {
        choice["index"]: {
            "content": choice["message"]["content"],
            "reasoning_content": choice["message"].get("reasoning_content", ""),
            "tool_calls": {
                i: call["function"]
                for i, call in enumerate(choice["message"].get("tool_calls", ()))
            },
            "finish_reason": choice["finish_reason"],
        }
        for choice in answer["choices"]
    }


SAME: dict[str, dict[str, Any]] = {
    "plain": {},
    "required": {"tools": TOOLS, "tool_choice": "required"},
    "auto": {"tools": TOOLS},
    "parallel": {"tools": TOOLS, "tool_choice": "required", "parallel_tool_calls": True},
    "one": {"tools": TOOLS, "tool_choice": "required", "parallel_tool_calls": False},
    "none": {"tools": TOOLS, "tool_choice": "none"},
    "schema": {"response_format": FORMAT},
    "object": {"response_format": {"type": "json_object"}},
    "object with a schema": {"response_format": {"type": "json_object", "schema": CITY}},
    "json_schema": {"json_schema": {"enum": ["a", "b"]}},
    "empty schema": {"json_schema": {}},
    "begun": {"messages": BEGUN},
    "begun, echo": {"messages": BEGUN, "echo": True},
    "thought": {"messages": THOUGHT},
    "go on": {
        "messages": BEGUN,
        "continue_final_message": "content",
        "add_generation_prompt": False,
    },
    "thought in content": {"messages": THOUGHT, "reasoning_format": "none"},
    "no thought": {"chat_template_kwargs": {"enable_thinking": False}},
    "no effort": {"reasoning_effort": "none"},
    "no budget": {"messages": THOUGHT, "reasoning_budget_tokens": 0},
    "a budget": {
        "messages": THOUGHT,
        "thinking_budget_tokens": 5,
        "reasoning_budget_message": "Enough.",
    },
    "grammar": {"grammar": 'root ::= "yes" | "no"'},
    "stop": {"stop": ["a"]},
    "two": {"n": 2},
    "cut": {"tools": TOOLS, "tool_choice": "required", "max_tokens": 30},
}
REFUSED: dict[str, dict[str, Any]] = {
    "grammar and tools": {"tools": TOOLS, "grammar": 'root ::= "a"'},
    "grammar and schema": {"json_schema": CITY, "grammar": 'root ::= "a"'},
    "choice": {"tools": TOOLS, "tool_choice": "maybe"},
    "format": {"response_format": {"type": "xml"}},
    "top_logprobs": {"top_logprobs": 2},
    "go on and begin": {"messages": BEGUN, "continue_final_message": True},
    "two at the end": {"messages": [*BEGUN, BEGUN[-1]]},
    "type": {"json_schema": {"type": "strange"}},
    "pattern": {"json_schema": {"type": "string", "pattern": "^(a$"}},
    "items": {"json_schema": {"type": "array", "items": {}, "minItems": 5, "maxItems": 2}},
    "an answer that no grammar begins with": {"messages": BEGUN, "json_schema": CITY},
    "thinking": {"chat_template_kwargs": {"enable_thinking": "yes"}},
    "tool": {"tools": [{"type": "function"}]},
    "reasoning format": {"reasoning_format": "loud"},
    "continue": {"continue_final_message": "now"},
}


@pytest.fixture(scope="module")
def theirs(tools_engine: Engine) -> Iterator[httpx.Client]:
    flags = ("--chat-template-file", str(template(QWEN)), "-c", "16384")
    with llama_client(tools_engine, *flags) as client:
        yield client


@pytest.mark.parametrize("name", SAME)
def test_like_llama_client(client: httpx.Client, theirs: httpx.Client, name: str) -> None:
    greedy = {"messages": ASKED, "temperature": 0, "max_tokens": 60, "cache_prompt": False}
    body = {**greedy, "logit_bias": readable(), **SAME[name]}
    answers = [c.post("/v1/chat/completions", json=body) for c in (client, theirs)]
    assert [answer.status_code for answer in answers] == [200, 200]
    mine, other = (whole(answer.json()) for answer in answers)
    assert mine == other
    usages = [answer.json()["usage"] for answer in answers]
    if "n" not in body:  # llama-server counts the first answer's tokens only
        assert usages[0] == usages[1]
    body["stream"] = True
    mine, other = (streamed(c.post("/v1/chat/completions", json=body)) for c in (client, theirs))
    assert mine == other


@pytest.mark.parametrize("name", REFUSED)
def test_refused_like_llama_client(client: httpx.Client, theirs: httpx.Client, name: str) -> None:
    body = {"messages": ASKED, "max_tokens": 3, **REFUSED[name]}
    mine, other = (c.post("/v1/chat/completions", json=body) for c in (client, theirs))
    assert mine.status_code == 400 and other.status_code >= 400
    assert mine.json()["error"]["type"] == "invalid_request_error"
    assert mine.json()["error"]["message"]


def test_logprobs(client: httpx.Client, theirs: httpx.Client) -> None:
    body = {"messages": ASKED, "temperature": 0, "max_tokens": 12, "logprobs": True}
    answers = [c.post("/v1/chat/completions", json=body).json() for c in (client, theirs)]
    mine, other = (answer["choices"][0]["logprobs"]["content"] for answer in answers)
    assert [p["id"] for p in mine] == [p["id"] for p in other]
    assert [p["logprob"] for p in mine] == pytest.approx([p["logprob"] for p in other], abs=1e-3)


def test_logprobs_of_a_call_as_a_stream(client: httpx.Client) -> None:
    """Each token's are in one chunk, whatever of the message came with it."""
    body = {"messages": [*ASKED, *CALLING], "tools": TOOLS, "tool_choice": "required"}
    body |= {"logprobs": True, "max_tokens": 40, "temperature": 0, "logit_bias": readable()}
    whole = ask(client, **body)["logprobs"]["content"]
    answer = client.post("/v1/chat/completions", json={**body, "stream": True})
    chunks = [chunk for chunk in events(answer.content) if chunk != "[DONE]"]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    parts = [
        part for choice in choices for part in (choice.get("logprobs") or {}).get("content", ())
    ]
    assert [part["id"] for part in parts] == [part["id"] for part in whole]
    assert len(parts) == 40


def random_body(rng: random.Random) -> dict[str, Any]:
    """A request whose answer is a message of several parts."""
    asked = [{"role": "user", "content": f"{rng.randrange(10**6)}?"}]
    body: dict[str, Any] = {"messages": [*asked, *rng.choice([[], THOUGHT[1:]])]}
    body |= {"temperature": 0, "cache_prompt": False, "logit_bias": readable()}
    if rng.random() < 0.6:
        body |= {"tools": TOOLS, "tool_choice": rng.choice(["required", "auto"])}
        body["parallel_tool_calls"] = rng.random() < 0.5
        if rng.random() < 0.5:
            body["messages"] = [*asked, *CALLING]
    elif rng.random() < 0.5:
        body["response_format"] = FORMAT
    if rng.random() < 0.5:
        body["reasoning_budget_tokens"] = rng.randrange(20)
    body["max_tokens"] = rng.randrange(1, 150)
    return body


def test_a_stream_says_what_a_whole_answer_says(client: httpx.Client) -> None:
    rng = random.Random(7)
    n_calls = 0
    for _ in range(40):
        body = random_body(rng)
        answer = whole(client.post("/v1/chat/completions", json=body).json())
        stream = streamed(client.post("/v1/chat/completions", json={**body, "stream": True}))
        if body["messages"][1:] == THOUGHT[1:]:  # its beginning is not sent again
            answer[0]["reasoning_content"] = answer[0]["reasoning_content"].removeprefix("Let me")
        if any(stream[0][name] for name in ("content", "reasoning_content", "tool_calls")):
            assert stream == answer, body  # else no word of it is a message yet: as it is, if whole
        n_calls += len(answer[0]["tool_calls"])
    assert n_calls > 5


CALLS = {
    "Qwen3-Coder": "<tool_call>",
    "mistralai-Mistral-Nemo-Instruct-2407": "[TOOL_CALLS]",
    "Apertus-8B-Instruct": "<|tools_prefix|>",
    "meetkai-functionary-medium-v3.1": "<function=",
}
"""What begins a call; a random model would never come to it."""


@pytest.mark.parametrize("name", CALLS)
def test_a_forced_call(tools_engine: Engine, name: str) -> None:
    flags = (*FLAGS, "--chat-template-file", str(template(name)))
    begun = {"role": "assistant", "content": CALLS[name]}
    with serving(tools_engine, *flags, model=TINY) as server, sdk(server) as client:
        for seed in range(4):
            request: Any = {"messages": [*ASKED, begun], "tools": TOOLS, "seed": seed}
            answer = client.chat.completions.create(
                model="any",
                tool_choice="required",
                parallel_tool_calls=False,
                max_tokens=600,
                extra_body={"logit_bias": readable()},
                **request,
            )
            choice = answer.choices[0]
            assert choice.finish_reason == "tool_calls", choice
            (call,) = choice.message.tool_calls or ()
            assert call.type == "function" and call.id
            check_call(call.function.name, call.function.arguments)


@pytest.mark.parametrize("form", [{}, {"response_format": FORMAT}], ids=["plain", "form"])
@pytest.mark.parametrize("name", ["weather", "book"])
def test_a_named_call(client: httpx.Client, name: str, form: dict[str, Any]) -> None:
    """The one that is named is called, whatever form a text would have."""
    choice = {"type": "function", "function": {"name": name}}
    body = {"messages": [*ASKED, *CALLING], "tools": TOOLS, "tool_choice": choice, **form}
    body |= {"max_tokens": 600, "stop": ["</tool_call>"], "logit_bias": readable()}
    for seed in range(4):
        (call,) = ask(client, **body, seed=seed)["message"]["tool_calls"]
        assert call["function"]["name"] == name
        check_call(**call["function"])


def check_call(name: str, arguments: str) -> None:
    parameters = {tool["function"]["name"]: tool["function"]["parameters"] for tool in TOOLS}
    jsonschema.validate(json.loads(arguments), parameters[name])


def test_a_call_as_a_stream(server: Server) -> None:
    request: Any = {
        "messages": [*ASKED, *CALLING],
        "tools": TOOLS,
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "max_tokens": 600,
        "stop": ["</tool_call>"],
        "extra_body": {"logit_bias": readable()},
    }
    with sdk(server) as client, client.chat.completions.stream(model="any", **request) as stream:
        kinds = {event.type for event in stream}
        message = stream.get_final_completion().choices[0].message
    assert "tool_calls.function.arguments.delta" in kinds
    assert message.tool_calls
    for call in message.tool_calls:
        check_call(call.function.name, call.function.arguments)


class Trip(BaseModel):
    """What a client wants to get."""

    city: str = Field(max_length=10)
    days: int = Field(ge=1, le=14)
    by: Literal["rail", "bike"]


def test_parse(server: Server) -> None:
    with sdk(server) as client:
        answer = client.chat.completions.parse(
            model="any",
            messages=ASKED,
            response_format=Trip,
            max_tokens=400,
            extra_body={"logit_bias": readable(), "reasoning_format": "none"},
        )
    trip = answer.choices[0].message.parsed
    assert trip is not None and trip.by in ("rail", "bike") and 1 <= trip.days <= 14


def test_reasoning_ends_where_its_budget_does(client: httpx.Client) -> None:
    limited: dict[str, Any] = {"messages": THOUGHT, "max_tokens": 60, "seed": 5}
    message = "That will do."
    body = {"reasoning_budget_tokens": 8, "reasoning_budget_message": message}
    answer = ask(client, **limited, **body)["message"]
    assert answer["reasoning_content"].endswith(message)
    assert answer["content"]


def random_schema(rng: random.Random, depth: int = 3) -> dict[str, Any]:
    """A JSON schema of bounded answers."""
    if rng.random() < 0.6 and depth:
        return rng.choice((random_object, random_object, random_array, random_choice))(rng, depth)
    return rng.choice((random_string, random_number, random_value))(rng)


def random_string(rng: random.Random) -> dict[str, Any]:
    low = rng.randrange(4)
    forms: list[dict[str, Any]] = [
        {"minLength": low, "maxLength": low + rng.randrange(8)},
        {"format": rng.choice(["date", "uuid", "date-time"])},
        {"pattern": "^[a-c]{2,4}-(x|yy)[0-9]{1,5}$"},
    ]
    return {"type": "string", **rng.choice(forms)}


def random_number(rng: random.Random) -> dict[str, Any]:
    low = rng.randrange(-2000, 2000)
    bounded = {"type": "integer", "minimum": low, "maximum": low + rng.randrange(5000)}
    return rng.choice([bounded, {"type": "number"}, {"type": "boolean"}, {"type": "null"}])


def random_value(rng: random.Random) -> dict[str, Any]:
    values = rng.sample(["a", "u", 'say "x"', 1, -2.5, None, True, [1], {"k": "v"}], 3)
    return rng.choice([{"enum": values}, {"const": values[0]}, {"$ref": "#/$defs/word"}])


def random_array(rng: random.Random, depth: int) -> dict[str, Any]:
    low = rng.randrange(3)
    items = random_schema(rng, depth - 1)
    bounded = {"type": "array", "items": items, "minItems": low, "maxItems": low + 2}
    return rng.choice([bounded, {"type": "array", "prefixItems": [items, {"type": "null"}]}])


def random_choice(rng: random.Random, depth: int) -> dict[str, Any]:
    return {"anyOf": [random_schema(rng, depth - 1) for _ in range(rng.randrange(1, 4))]}


def random_object(rng: random.Random, depth: int) -> dict[str, Any]:
    names = rng.sample(["a", "b b", "u", "long_name", 'q"', "n-1"], rng.randrange(1, 5))
    return {
        "type": "object",
        "properties": {name: random_schema(rng, depth - 1) for name in names},
        "required": [name for name in names if rng.random() < 0.5],
        "additionalProperties": False,
    }


DEFS = {"$defs": {"word": {"type": "string", "maxLength": 5}}}


def test_answers_fit_random_schemas(server: Server) -> None:
    rng = random.Random(11)
    schemas = [random_schema(rng) | DEFS for _ in range(N_SCHEMAS)]
    answers = asyncio.run(answer_all(server, schemas))
    for schema, answer in zip(schemas, answers, strict=True):
        assert answer["finish_reason"] == "stop", (schema, answer)
        jsonschema.validate(json.loads(answer["message"]["content"]), schema)


async def answer_all(server: Server, schemas: list[dict[str, Any]]) -> list[dict[str, Any]]:
    gate = asyncio.Semaphore(8)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=120) as client:

        async def answer(i: int, schema: dict[str, Any]) -> dict[str, Any]:
            format = {"type": "json_schema", "json_schema": {"name": "any", "schema": schema}}
            body = {"messages": ASKED, "response_format": format, "seed": i, "max_tokens": 1500}
            body |= {"logit_bias": readable(), "reasoning_format": "none"}
            async with gate:
                got = await client.post("/v1/chat/completions", json=body)
            assert got.status_code == 200, (schema, got.text)
            choice: dict[str, Any] = got.json()["choices"][0]
            return choice

        return await asyncio.gather(*(answer(i, schema) for i, schema in enumerate(schemas)))
