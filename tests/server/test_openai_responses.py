"""OpenAI's Responses API: requests as chats, and chats as items and events."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pydantic import TypeAdapter

from pannier.chat import ChatMessage, MessageDelta, ToolCall
from pannier.server.api.openai_responses import Responses
from pannier.server.choice import Choice, Delta
from pannier.server.messages import Timings
from pannier.server.requests.chat import ChatBody
from pannier.server.requests.openai_responses import ResponsesBody
from pannier.server.responses.openai_responses import ResponseEvent, WholeResponse

from .conftest import FakeVocabulary, letters, steps
from .test_completion import post

USER = {"role": "user", "content": [{"type": "text", "text": "hi"}]}
CALL = {
    "type": "function_call",
    "call_id": "call_1",
    "name": "f",
    "arguments": '{"a":1}',
    "id": "x",
}
TOOL_CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
THOUGHT = {
    "type": "reasoning",
    "summary": [],
    "content": [{"type": "reasoning_text", "text": "hm"}],
}
SAID = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "so", "annotations": [], "logprobs": []}],
}


def chat(**body: Any) -> dict[str, Any]:
    return ResponsesBody.read(body, cast(Any, None)).chat()


def messages(*items: Any) -> Any:
    return chat(input=list(items))["messages"]


def text(text: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text}]


def test_a_string_is_what_the_user_says() -> None:
    assert chat(input="hi", instructions="Be brief.") == {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "hi"},
        ]
    }


@pytest.mark.parametrize(
    ("items", "want"),
    [
        ([{"role": "user", "content": "hi"}], [USER]),
        (
            [
                {
                    "type": "message",
                    "status": "completed",
                    "role": "developer",
                    "name": "Ann",
                    "content": [{"type": "input_text", "text": "hi"}],
                }
            ],
            [{**USER, "role": "developer", "name": "Ann"}],
        ),
        ([{"role": "assistant", "content": "so"}], [{"role": "assistant", "content": text("so")}]),
        ([SAID], [{"role": "assistant", "content": text("so")}]),
        (
            [{**SAID, "content": [{"type": "refusal", "refusal": "no"}]}],
            [{"role": "assistant", "content": text("no")}],
        ),
        ([SAID, SAID], [{"role": "assistant", "content": [*text("so"), *text("so")]}]),
        ([CALL], [{"role": "assistant", "tool_calls": [TOOL_CALL]}]),
        ([CALL, CALL], [{"role": "assistant", "tool_calls": [TOOL_CALL, TOOL_CALL]}]),
        (
            [THOUGHT, SAID, CALL],
            [
                {
                    "role": "assistant",
                    "content": text("so"),
                    "reasoning_content": "hm",
                    "tool_calls": [TOOL_CALL],
                }
            ],
        ),
        (
            [{"type": "function_call_output", "call_id": "call_1", "output": "rain"}],
            [{"role": "tool", "tool_call_id": "call_1", "content": "rain"}],
        ),
        (
            [
                {
                    "type": "function_call_output",
                    "call_id": "call_1",
                    "output": [{"type": "input_text", "text": "rain"}],
                }
            ],
            [{"role": "tool", "tool_call_id": "call_1", "content": text("rain")}],
        ),
    ],
)
def test_items_become_messages(items: list[Any], want: list[Any]) -> None:
    assert messages(*items) == want


def test_turns_stay_apart() -> None:
    user = {"role": "user", "content": "hi"}
    assert [m["role"] for m in messages(user, THOUGHT, CALL, user, SAID)] == [
        "user",
        "assistant",
        "user",
        "assistant",
    ]


def test_fields_of_a_chat() -> None:
    function = {"name": "f", "parameters": {"type": "object"}}
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    got = chat(
        input="hi",
        tools=[{"type": "function", **function}, {"type": "web_search"}],
        tool_choice="required",
        max_output_tokens=9,
        temperature=0.5,
        reasoning={"effort": "low", "summary": "auto"},
        text={"format": {"type": "json_schema", "name": "n", "schema": schema, "strict": True}},
        seed=3,
    )
    assert got["tools"] == [{"type": "function", "function": {"strict": True, **function}}]
    assert (got["max_tokens"], got["reasoning_effort"]) == (9, "low")
    assert (got["temperature"], got["seed"], got["tool_choice"]) == (0.5, 3, "required")
    assert got["response_format"] == {"type": "json_schema", "json_schema": {"schema": schema}}
    read = ChatBody.read(got, cast(Any, None))
    assert (read.n_predict, read.temperature, read.reasoning_effort) == (9, 0.5, "low")


def test_tools_that_nobody_can_call_are_left_out() -> None:
    assert "tools" not in chat(input="hi", tools=[{"type": "web_search"}])


def test_no_form_leaves_the_chats_own() -> None:
    form = {"type": "json_object"}
    body = {"input": "hi", "response_format": form}
    assert chat(**body, text={"format": {"type": "text"}})["response_format"] == form
    assert chat(**body, text={"verbosity": "low"})["response_format"] == form


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "'input' is required"),
        ({"input": 3}, "Field 'input': expected"),
        ({"input": ["hi"]}, "'input[0]': expected an item of type message"),
        ({"input": [{"type": "item_reference", "id": "a"}]}, "got 'item_reference'"),
        ({"input": [{"role": "user"}]}, "'input[0].content' is required"),
        ({"input": [{"role": "robot", "content": "a"}]}, "'input[0].role'"),
        ({"input": [{"role": "assistant", "content": [{"type": "input_image"}]}]}, "input_image"),
        ({"input": [{**CALL, "arguments": {}}]}, "'input[0].arguments'"),
        ({"input": [{"type": "reasoning", "content": []}]}, "'input[0].content'"),
        ({"input": "a", "max_output_tokens": -2}, "'max_output_tokens'"),
        ({"input": "a", "tools": ["f"]}, "'tools[0]'"),
        ({"input": "a", "text": {"format": {"type": "xml"}}}, "'text.format.type'"),
        ({"input": "a", "reasoning": {"effort": 3}}, "'reasoning.effort'"),
        ({"input": "a", "previous_response_id": "resp_1"}, "'previous_response_id'"),
        ({"input": "a", "conversation": "conv_1"}, "'conversation'"),
        ({"input": "a", "n": 2}, "'n'"),
        ({"input": "a", "top_k": "x"}, "'top_k'"),
        ({"input": "a", "tool_choice": "perhaps"}, "'tool_choice'"),
    ],
)
def test_refused(body: dict[str, Any], words: str) -> None:
    answer, seen = post("/v1/responses", body, letters("a"))
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]
    assert not seen or not hasattr(seen[0], "prompt")


def named_events(data: bytes) -> list[dict[str, Any]]:
    """Each event's data, whose type is its name."""
    found = []
    for block in data.decode().removesuffix("\n\n").split("\n\n"):
        name, content = block.split("\n")
        found.append(json.loads(content.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


def test_whole() -> None:
    body = {"input": "hello", "instructions": "s", "max_output_tokens": 9}
    answer, seen = post("/responses", body, steps("Hi", "!"))
    assert bytes(seen[0].prompt[1:]) == b"s:s\nu:hello\na:"
    assert seen[0].max_tokens == 9
    got = answer.json()
    TypeAdapter(WholeResponse).validate_python(got)
    assert got["id"].startswith("resp_")
    assert (got["object"], got["status"], got["incomplete_details"]) == (
        "response",
        "completed",
        None,
    )
    (item,) = got["output"]
    assert item["id"].startswith("msg_")
    assert [part["text"] for part in item["content"]] == ["Hi!"]
    assert got["usage"] == {
        "input_tokens": len(seen[0].prompt),
        "output_tokens": 4,
        "total_tokens": len(seen[0].prompt) + 4,
        "input_tokens_details": {"cached_tokens": 2},
        "output_tokens_details": {"reasoning_tokens": 0},
    }


def test_numbers_of_any_length_come_back() -> None:
    body = {"input": "a", "tool_choice": {"a": 2**70}, "tools": [{"type": "x", "b": -(2**70)}]}
    for stream in (False, True):
        answer, _ = post("/v1/responses", {**body, "stream": stream}, letters("a"))
        assert answer.status_code == 200
        assert str(2**70).encode() in answer.content


def test_an_answer_of_nothing() -> None:
    assert post("/v1/responses", {"input": "a"}, steps())[0].json()["output"] == []
    answer, _ = post("/v1/responses", {"input": "a", "stream": True}, steps())
    assert [event["type"] for event in named_events(answer.content)] == [
        "response.created",
        "response.in_progress",
        "response.completed",
    ]


def test_stream() -> None:
    answer, _ = post("/v1/responses", {"input": "a", "stream": True}, steps("Hi", "!"))
    assert answer.headers["content-type"] == "text/event-stream"
    events = named_events(answer.content)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"].removeprefix("response.") for event in events] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        *["output_text.delta"] * 3,
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    for event in events:
        TypeAdapter(ResponseEvent).validate_python(event)
    item = events[-2]["item"]
    assert events[-1]["response"]["output"] == [item]
    assert {e["item_id"] for e in events if "item_id" in e} == {item["id"]}
    assert ["timings" in event for event in events] == [False] * 10 + [True]


def test_timings_with_each_token() -> None:
    body = {"input": "a", "stream": True, "timings_per_token": True}
    events = named_events(post("/v1/responses", body, steps("Hi"))[0].content)
    assert all("timings" in event for event in events if event["type"].endswith("text.delta"))
    assert "timings" not in events[0]


GROWN = [
    MessageDelta(reasoning_content="h"),
    MessageDelta(reasoning_content="m"),
    MessageDelta(content="so"),
    MessageDelta(index=0, call=ToolCall("1", "f", "")),
    MessageDelta(index=0, call=ToolCall("", "", '{"a"')),
    MessageDelta(index=0, call=ToolCall("", "", ":1}")),
    MessageDelta(index=1, call=ToolCall("2", "g", "{}")),
]
CALLS = (ToolCall("1", "f", '{"a":1}'), ToolCall("2", "g", "{}"))


def answered(*calls: ToolCall) -> Choice:
    """A choice with reasoning, text and these calls."""
    facts = {
        "index": 0,
        "message": ChatMessage("so", "hm", calls),
        "has_tool_calls": bool(calls),
        "prompt": [1] * 7,
        "n_predicted": 20,
        "stop_type": "eos",
        "stopping_word": "",
        "timings": Timings(5, 0.0, 20, 0.0, cache_n=2),
    }
    return cast(Choice, SimpleNamespace(**facts))


def responses() -> Responses:
    settings = SimpleNamespace(model_name="tiny")
    server = SimpleNamespace(vocabulary=FakeVocabulary(), settings=settings)
    body = ChatBody.model_construct(parallel_tool_calls=True, tool_choice="auto")
    wanted = SimpleNamespace(timings_per_token=False)
    return Responses(cast(Any, server), body, [], cast(Any, wanted))


def test_items_of_a_stream() -> None:
    format, choice = responses(), answered(*CALLS)
    data = b"".join(format.partial(choice, Delta("", [], [], [grown])) for grown in GROWN)
    events = named_events(data + format.last(choice))
    for event in events:
        TypeAdapter(ResponseEvent).validate_python(event)
    added = [e for e in events if e["type"] == "response.output_item.added"]
    done = [e for e in events if e["type"] == "response.output_item.done"]
    kinds = ["reasoning", "message", "function_call", "function_call"]
    assert [e["item"]["type"] for e in added] == [e["item"]["type"] for e in done] == kinds
    assert [e["output_index"] for e in added] == [e["output_index"] for e in done] == [0, 1, 2, 3]
    assert [e["item"]["id"] for e in added] == [e["item"]["id"] for e in done]
    arguments = [e for e in events if e["type"] == "response.function_call_arguments.delta"]
    assert [(e["item_id"], e["delta"]) for e in arguments] == [
        ("fc_1", '{"a"'),
        ("fc_1", ":1}"),
        ("fc_2", "{}"),
    ]
    assert events[-1]["response"]["output"] == [e["item"] for e in done]


def test_items_of_a_whole_answer_are_those_of_the_stream() -> None:
    format, choice = responses(), answered(*CALLS)
    format.partial(choice, Delta("", [], [], GROWN))
    streamed = named_events(format.last(choice))[-1]["response"]
    whole = responses().whole([choice])
    TypeAdapter(WholeResponse).validate_python(whole)
    for one, other in zip(streamed["output"], whole["output"], strict=True):
        ids = {"id": one["id"]} if one["type"] != "function_call" else {}
        assert one == {**other, **ids}
    assert whole["output"][2]["call_id"] == "call_1"
    assert whole["usage"] == streamed["usage"]
    assert whole["usage"]["output_tokens_details"] == {"reasoning_tokens": 2}
    assert whole["usage"]["input_tokens_details"] == {"cached_tokens": 2}
