"""OpenAI's and Anthropic's own Python clients, against the real server with a tiny model.

One template lets the model think and then say anything, another one forces a tool call where one
is required. What the model says is noise; what counts is that the clients understand it, whole and
streamed alike.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import anthropic
import openai
import pytest
from pydantic import BaseModel

from pannier.engine import Engine, source_tree

from .test_clients import serving

pytestmark = pytest.mark.engine

TINY = Path(__file__).parents[1] / "data" / "llama" / "model-f32.gguf"
TALKS, CALLS = "Qwen-QwQ-32B.jinja", "Cohere2MoE.jinja"
PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Bonn", "Rome"]}},
    "required": ["city"],
}
OPENAI_TOOLS: list[Any] = [
    {"type": "function", "name": "get_weather", "parameters": PARAMETERS, "strict": True}
]
ANTHROPIC_TOOLS: list[Any] = [{"name": "get_weather", "input_schema": PARAMETERS}]
THINKING: Any = {"type": "enabled", "budget_tokens": 3}
BUDGET = {"reasoning_budget_tokens": 3}
GREEDY = {"temperature": 0}
N_TOKENS = 400
N_SHORT = 59
"""Ends with a whole character."""
IMAGE = "data:image/png;base64,iVBORw0KGgo="


class Weather(BaseModel):
    city: Literal["Bonn", "Rome"]


@pytest.fixture(scope="module")
def urls(cpu_engine: Engine) -> Iterator[dict[str, str]]:
    found = {}
    with contextlib.ExitStack() as servers:
        for name in (TALKS, CALLS):
            template = str(source_tree() / "models" / "templates" / name)
            options = ("-c", "8192", "-np", "2", "-t", "1", "--chat-template-file", template)
            server = servers.enter_context(serving(cpu_engine, *options, model=TINY))
            found[name] = f"http://127.0.0.1:{server.port}"
        yield found


@pytest.fixture(params=[TALKS])
def openai_client(urls: dict[str, str], request: pytest.FixtureRequest) -> Iterator[openai.OpenAI]:
    base_url = f"{urls[request.param]}/v1"
    with openai.OpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(params=[TALKS])
def anthropic_client(
    urls: dict[str, str], request: pytest.FixtureRequest
) -> Iterator[anthropic.Anthropic]:
    base_url = urls[request.param]
    with anthropic.Anthropic(base_url=base_url, api_key="none", max_retries=0) as client:
        yield client


calls_openai = pytest.mark.parametrize("openai_client", [CALLS], indirect=True)
calls_anthropic = pytest.mark.parametrize("anthropic_client", [CALLS], indirect=True)


def respond(client: openai.OpenAI, input: Any, **more: Any) -> Any:
    body = {"max_output_tokens": N_TOKENS, "temperature": 0, "extra_body": BUDGET, **more}
    return client.responses.create(model="any", input=input, **body)


def test_response(openai_client: openai.OpenAI) -> None:
    got = respond(openai_client, "Hello", instructions="Be brief.", max_output_tokens=N_SHORT)
    assert [item.type for item in got.output] == ["reasoning", "message"]
    assert got.output_text == got.output[1].content[0].text != ""
    assert got.output[0].content[0].text
    assert (got.status, got.error) == ("completed", None)
    assert got.incomplete_details.reason == "max_output_tokens"
    assert got.usage.output_tokens == N_SHORT
    assert got.usage.total_tokens == got.usage.input_tokens + N_SHORT
    assert 0 < got.usage.output_tokens_details.reasoning_tokens < N_SHORT
    assert (got.tools, got.tool_choice, got.parallel_tool_calls) == ([], "auto", False)


def test_response_streamed(openai_client: openai.OpenAI) -> None:
    whole = respond(openai_client, "Hello", max_output_tokens=N_SHORT)
    thoughts, text = "", ""
    with openai_client.responses.stream(
        model="any", input="Hello", max_output_tokens=N_SHORT, temperature=0, extra_body=BUDGET
    ) as stream:
        numbers = []
        for event in stream:
            numbers.append(event.sequence_number)
            if event.type == "response.reasoning_text.delta":
                thoughts += event.delta
            elif event.type == "response.output_text.delta":
                text += event.delta
                assert event.snapshot == text
        final = stream.get_final_response()
    assert numbers == list(range(len(numbers)))
    assert thoughts == whole.output[0].content[0].text
    assert text == whole.output_text == final.output_text
    assert final.usage == whole.usage.model_copy(
        update={"input_tokens_details": final.usage.input_tokens_details}
    )


@calls_openai
def test_response_calls_a_tool(openai_client: openai.OpenAI) -> None:
    said: list[Any] = [{"role": "user", "content": "Weather?"}]
    asked = respond(openai_client, said, tools=OPENAI_TOOLS, tool_choice="required")
    call = next(item for item in asked.output if item.type == "function_call")
    assert call.name == "get_weather"
    assert json.loads(call.arguments)["city"] in ("Bonn", "Rome")
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "Rain"}
    said += [*asked.output, result]
    answered = respond(openai_client, said, tools=OPENAI_TOOLS, max_output_tokens=N_SHORT)
    assert answered.output_text
    counted = openai_client.responses.input_tokens.count(input=said, tools=OPENAI_TOOLS)
    assert counted.input_tokens == answered.usage.input_tokens > asked.usage.input_tokens
    assert counted.object == "response.input_tokens"


@calls_openai
def test_response_streams_a_call(openai_client: openai.OpenAI) -> None:
    with openai_client.responses.stream(
        model="any",
        input="Weather?",
        tools=OPENAI_TOOLS,
        tool_choice="required",
        temperature=0,
        max_output_tokens=N_TOKENS,
        extra_body=BUDGET,
    ) as stream:
        for event in stream:
            if event.type == "response.function_call_arguments.delta":
                pieces = event.snapshot
        final = stream.get_final_response()
    call = final.output[-1]
    assert call.type == "function_call"
    assert pieces == call.arguments
    assert call.parsed_arguments == json.loads(call.arguments)  # type: ignore[comparison-overlap]


def test_response_of_a_form(openai_client: openai.OpenAI) -> None:
    got = openai_client.responses.parse(
        model="any",
        input="Weather?",
        text_format=Weather,
        max_output_tokens=N_TOKENS,
        temperature=0,
        extra_body=BUDGET,
    )
    assert got.output_parsed is not None
    assert got.output_parsed.city in ("Bonn", "Rome")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": IMAGE}]}]},
            ["input[0].content[0].type", "input_image"],
        ),
        ({"input": "a", "previous_response_id": "resp_1"}, ["previous_response_id", "resp_1"]),
        ({"input": "a", "temperature": "hot"}, ["temperature", "hot"]),
    ],
)
def test_response_refused(
    openai_client: openai.OpenAI, body: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        openai_client.responses.create(model="any", **body)
    assert caught.value.type == "invalid_request_error"
    assert all(word in caught.value.message for word in words)


def message(client: anthropic.Anthropic, messages: Any, **more: Any) -> Any:
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    body = {"max_tokens": N_TOKENS, "extra_body": GREEDY, "thinking": THINKING, **more}
    return client.messages.create(model="any", messages=messages, **body)


def test_message(anthropic_client: anthropic.Anthropic) -> None:
    got = message(anthropic_client, "Hello", system="Be brief.", max_tokens=N_SHORT)
    assert [block.type for block in got.content] == ["thinking", "text"]
    assert got.content[0].thinking and got.content[1].text
    assert (got.stop_reason, got.stop_sequence) == ("max_tokens", None)
    assert got.usage.output_tokens == N_SHORT
    counted = anthropic_client.messages.count_tokens(
        model="any", system="Be brief.", messages=[{"role": "user", "content": "Hello"}]
    )
    n_prompt = got.usage.input_tokens + got.usage.cache_read_input_tokens
    assert counted.input_tokens == n_prompt


def test_message_streamed(anthropic_client: anthropic.Anthropic) -> None:
    whole = message(anthropic_client, "Hello", max_tokens=N_SHORT)
    with anthropic_client.messages.stream(
        model="any",
        messages=[{"role": "user", "content": "Hello"}],
        max_tokens=N_SHORT,
        extra_body=GREEDY,
        thinking=THINKING,
    ) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == whole.content[1].text
    assert [block.to_dict() for block in final.content] == [b.to_dict() for b in whole.content]
    assert final.stop_reason == "max_tokens"
    assert final.usage.output_tokens == N_SHORT


def test_message_ends_at_a_stop_sequence(anthropic_client: anthropic.Anthropic) -> None:
    text = message(anthropic_client, "Hello", max_tokens=N_SHORT).content[1].text
    stop = text[-3:]
    assert stop.isascii()
    cut = message(anthropic_client, "Hello", max_tokens=N_SHORT, stop_sequences=[stop])
    assert (cut.stop_reason, cut.stop_sequence) == ("end_turn", stop)
    assert cut.content[1].text == text[: text.index(stop)]


@calls_anthropic
def test_message_calls_a_tool(anthropic_client: anthropic.Anthropic) -> None:
    said: list[Any] = [{"role": "user", "content": "Weather?"}]
    asked = message(anthropic_client, said, tools=ANTHROPIC_TOOLS, tool_choice={"type": "any"})
    assert asked.stop_reason == "tool_use"
    call = asked.content[-1]
    assert (call.type, call.name) == ("tool_use", "get_weather")
    assert call.input["city"] in ("Bonn", "Rome")
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "Rain"}
    said += [{"role": "assistant", "content": asked.content}, {"role": "user", "content": [result]}]
    answered = message(anthropic_client, said, tools=ANTHROPIC_TOOLS, max_tokens=N_SHORT)
    assert answered.content[-1].text
    counted = anthropic_client.messages.count_tokens(
        model="any", messages=said, tools=ANTHROPIC_TOOLS
    )
    assert counted.input_tokens == (
        answered.usage.input_tokens + answered.usage.cache_read_input_tokens
    )


@calls_anthropic
def test_message_streams_a_call(anthropic_client: anthropic.Anthropic) -> None:
    with anthropic_client.messages.stream(
        model="any",
        messages=[{"role": "user", "content": "Weather?"}],
        tools=ANTHROPIC_TOOLS,
        tool_choice={"type": "any"},
        thinking=THINKING,
        extra_body=GREEDY,
        max_tokens=N_TOKENS,
    ) as stream:
        final = stream.get_final_message()
    assert final.stop_reason == "tool_use"
    assert [block.type for block in final.content] == ["thinking", "tool_use"]
    call: Any = final.content[-1]
    assert call.input["city"] in ("Bonn", "Rome")


def test_message_of_a_form(anthropic_client: anthropic.Anthropic) -> None:
    got = anthropic_client.messages.parse(
        model="any",
        messages=[{"role": "user", "content": "Weather?"}],
        output_format=Weather,
        thinking=THINKING,
        extra_body=GREEDY,
        max_tokens=N_TOKENS,
    )
    assert got.parsed_output is not None
    assert got.parsed_output.city in ("Bonn", "Rome")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {
                                "type": "image",
                                "source": {"type": "url", "url": "http://localhost/a.png"},
                            }
                        ],
                    }
                ]
            },
            ["messages[0].content[0]", "'image'"],
        ),
        ({"messages": []}, ["messages"]),
        (
            {"messages": [{"role": "user", "content": "a"}], "extra_body": {"top_k": "many"}},
            ["top_k", "many"],
        ),
    ],
)
def test_message_refused(
    anthropic_client: anthropic.Anthropic, body: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(anthropic.BadRequestError) as caught:
        anthropic_client.messages.create(model="any", max_tokens=8, **body)
    assert all(word in caught.value.message for word in words)
