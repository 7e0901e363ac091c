"""Anthropic's Messages API: requests as chats, and chats as blocks and events."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from pydantic import TypeAdapter

from pannier.chat import ToolCall
from pannier.server.api.anthropic import Messages
from pannier.server.choice import Delta
from pannier.server.requests.anthropic import MessagesBody
from pannier.server.requests.chat import ChatBody
from pannier.server.responses.anthropic import MessageEvent, WholeMessage
from pannier.server.wire import dumps

from .conftest import letters, steps
from .test_completion import post
from .test_openai_responses import GROWN, answered, named_events

HI = {"role": "user", "content": "hi"}
USE = {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": [1, "é"]}}
CALL = {"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"a":[1,"é"]}'}}
BILLING = "x-anthropic-billing-header: cc_version=2.1; cch={stamp};You are Claude Code."


def chat(**body: Any) -> dict[str, Any]:
    return MessagesBody.read({"messages": [HI], **body}, cast(Any, None)).chat()


def text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def result(content: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": "t1", "content": content}


@pytest.mark.parametrize(
    ("role", "content", "want"),
    [
        ("user", "hi", [HI]),
        (
            "user",
            [{**text("a"), "cache_control": {"type": "ephemeral"}}, text("b")],
            [{"role": "user", "content": [text("a"), text("b")]}],
        ),
        (
            "assistant",
            [
                {"type": "thinking", "thinking": "hm", "signature": ""},
                {"type": "redacted_thinking", "data": "x"},
                text("so"),
                USE,
            ],
            [
                {
                    "role": "assistant",
                    "content": [text("so")],
                    "reasoning_content": "hm",
                    "tool_calls": [CALL],
                }
            ],
        ),
        ("assistant", [USE], [{"role": "assistant", "content": "", "tool_calls": [CALL]}]),
        (
            "user",
            [result("rain"), text("well?")],
            [
                {"role": "user", "content": [text("well?")]},
                {"role": "tool", "tool_call_id": "t1", "content": "rain"},
            ],
        ),
        (
            "user",
            [result([text("ra"), text("in")])],
            [{"role": "tool", "tool_call_id": "t1", "content": "rain"}],
        ),
        ("user", [result(None)], [{"role": "tool", "tool_call_id": "t1", "content": ""}]),
        ("user", [], []),
    ],
)
def test_blocks_become_messages(role: str, content: Any, want: list[Any]) -> None:
    assert chat(messages=[{"role": role, "content": content}])["messages"] == want


def test_fields_of_a_chat() -> None:
    schema = {"type": "object"}
    got = chat(
        system=[text("Be "), text("brief.")],
        tools=[{"name": "f", "description": "d", "input_schema": schema}, {"name": "g"}],
        tool_choice={"type": "any", "disable_parallel_tool_use": True},
        stop_sequences=["x"],
        max_tokens=9,
        temperature=0.5,
        thinking={"type": "enabled", "budget_tokens": 7},
        metadata={"user_id": "u"},
        output_config={"format": {"type": "json_schema", "schema": schema}},
        seed=3,
    )
    assert got == {
        "messages": [{"role": "system", "content": "Be brief."}, HI],
        "tools": [
            {
                "type": "function",
                "function": {"name": "f", "description": "d", "parameters": schema},
            },
            {"type": "function", "function": {"name": "g", "description": "", "parameters": {}}},
        ],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "stop": ["x"],
        "max_tokens": 9,
        "temperature": 0.5,
        "thinking_budget_tokens": 7,
        "response_format": {"type": "json_schema", "json_schema": {"schema": schema}},
    }
    read = ChatBody.read(got, cast(Any, None))
    assert (read.n_predict, read.stop, read.reasoning_budget_tokens) == (9, ("x",), 7)


def test_defaults() -> None:
    assert chat() == {"messages": [HI], "max_tokens": 4096, "stop": []}
    assert chat(thinking={"type": "enabled"})["thinking_budget_tokens"] == 10000
    assert "thinking_budget_tokens" not in chat(thinking={"type": "disabled", "budget_tokens": 3})


@pytest.mark.parametrize(
    ("type", "want"),
    [("auto", "auto"), ("any", "required"), ("tool", "required"), ("none", "none")],
)
def test_tool_choice(type: str, want: str) -> None:
    assert chat(tool_choice={"type": type})["tool_choice"] == want


def test_a_named_tool() -> None:
    found = chat(tool_choice={"type": "tool", "name": "rain"})["tool_choice"]
    assert found == {"type": "function", "function": {"name": "rain"}}


@pytest.mark.parametrize("wrap", [lambda told: told, lambda told: [text(told)]])
def test_a_stamp_that_changes_does_not_change_the_prompt(wrap: Any) -> None:
    prompts = [
        chat(system=wrap(BILLING.format(stamp=stamp)))["messages"][0]["content"]
        for stamp in ("a5145", "00000")
    ]
    assert prompts == [BILLING.format(stamp="fffff")] * 2
    other = "An x-anthropic-billing-header: cch=a5145;"
    assert chat(system=other)["messages"][0]["content"] == other


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"messages": None}, "'messages' is required"),
        ({"messages": []}, "'messages'"),
        ({"messages": [{"role": "user"}]}, "'messages[0].content' is required"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "got 'image'"),
        (
            {"messages": [{"role": "user", "content": [result([{"type": "image"}])]}]},
            "'messages[0].content[0].content[0].type'",
        ),
        ({"messages": [{"role": "user", "content": ["hi"]}]}, "'messages[0].content[0]'"),
        ({"messages": [{"role": "user", "content": [{**USE, "input": "x"}]}]}, ".input'"),
        ({"messages": [{"role": "user", "content": []}]}, "'messages'"),
        ({"tools": [{"description": "x"}]}, "'tools[0].name' is required"),
        ({"tool_choice": {"type": "some"}}, "'tool_choice.type'"),
        ({"tool_choice": "auto"}, "'tool_choice'"),
        ({"max_tokens": -2}, "'max_tokens'"),
        ({"thinking": {"type": "enabled", "budget_tokens": "x"}}, "'thinking.budget_tokens'"),
        ({"system": 3}, "'system'"),
        ({"stop_sequences": [3]}, "'stop_sequences'"),
    ],
)
def test_refused(body: dict[str, Any], words: str) -> None:
    answer, _ = post("/v1/messages", {"messages": [HI], **body}, letters("a"))
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]


def test_whole() -> None:
    body = {"messages": [HI], "system": "s", "max_tokens": 9}
    answer, seen = post("/v1/messages", body, steps("Hi", "!"))
    assert bytes(seen[0].prompt[1:]) == b"s:s\nu:hi\na:"
    assert seen[0].max_tokens == 9
    got = answer.json()
    TypeAdapter(WholeMessage).validate_python(got)
    assert got["content"] == [text("Hi!")]
    assert (got["type"], got["role"], got["stop_reason"]) == ("message", "assistant", "end_turn")
    assert got["usage"] == {
        "cache_read_input_tokens": 2,
        "input_tokens": len(seen[0].prompt) - 2,
        "output_tokens": 4,
    }


def test_ends() -> None:
    body = {"messages": [HI], "max_tokens": 2}
    got = post("/v1/messages", body, letters("abc"))[0].json()
    assert (got["stop_reason"], got["stop_sequence"]) == ("max_tokens", None)
    body = {"messages": [HI], "stop_sequences": ["b"]}
    got = post("/v1/messages", body, letters("abc"))[0].json()
    assert (got["stop_reason"], got["stop_sequence"]) == ("end_turn", "b")
    assert got["content"] == [text("a")]


def test_stream() -> None:
    answer, _ = post("/v1/messages", {"messages": [HI], "stream": True}, steps("Hi", "!"))
    events = named_events(answer.content)
    assert [event["type"] for event in events] == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * 3,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    for event in events:
        TypeAdapter(MessageEvent).validate_python(event)
    assert "".join(event["delta"]["text"] for event in events[2:5]) == "Hi!"
    assert events[-2]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert events[-2]["usage"] == {"output_tokens": 4}


def test_an_answer_of_nothing() -> None:
    assert post("/v1/messages", {"messages": [HI]}, steps())[0].json()["content"] == []
    answer, _ = post("/v1/messages", {"messages": [HI], "stream": True}, steps())
    assert [event["type"] for event in named_events(answer.content)] == [
        "message_start",
        "message_delta",
        "message_stop",
    ]


CUT = (ToolCall("1", "f", '{"a":1}'), ToolCall("2", "g", "{"))


def messages() -> Messages:
    return Messages(cast(Any, SimpleNamespace(settings=SimpleNamespace(model_name="tiny"))))


def test_blocks_of_a_whole_answer() -> None:
    got = messages().whole([answered(*CUT)])
    TypeAdapter(WholeMessage).validate_python(got)
    assert got["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": ""},
        text("so"),
        {"type": "tool_use", "id": "1", "name": "f", "input": {"a": 1}},
        {"type": "tool_use", "id": "2", "name": "g", "input": {}},
    ]
    assert got["stop_reason"] == "tool_use"


@pytest.mark.parametrize(
    ("arguments", "want"),
    [
        ("", {}),
        ('{"a":', {}),
        ('{"a":NaN}', {}),
        ('{"a":"\\ud800"}', {}),
        ("[3]", [3]),
        (str(2**70), 2**70),
    ],
)
def test_arguments_that_are_no_json(arguments: str, want: Any) -> None:
    got = messages().whole([answered(ToolCall("1", "f", arguments))])
    assert dumps(got)
    assert got["content"][2]["input"] == want


def test_blocks_of_a_stream() -> None:
    format, choice = messages(), answered(*CUT)
    data = b"".join(format.partial(choice, Delta("", [], [], [grown])) for grown in GROWN)
    events = named_events(data + format.last(choice))
    for event in events:
        TypeAdapter(MessageEvent).validate_python(event)
    starts = [e for e in events if e["type"] == "content_block_start"]
    assert [(e["index"], e["content_block"]["type"]) for e in starts] == [
        (0, "thinking"),
        (1, "text"),
        (2, "tool_use"),
        (3, "tool_use"),
    ]
    assert starts[2]["content_block"] == {"type": "tool_use", "id": "1", "name": "f", "input": {}}
    pieces = [e for e in events if e["type"] == "content_block_delta"]
    assert [(e["index"], *e["delta"].values()) for e in pieces] == [
        (0, "thinking_delta", "h"),
        (0, "thinking_delta", "m"),
        (1, "text_delta", "so"),
        (2, "input_json_delta", '{"a"'),
        (2, "input_json_delta", ":1}"),
        (3, "input_json_delta", "{}"),
        (0, "signature_delta", ""),
    ]
    stops = [e["index"] for e in events if e["type"] == "content_block_stop"]
    assert stops == [0, 1, 2, 3]
    assert events[0]["message"]["usage"]["cache_read_input_tokens"] == 2
    assert events[-2]["delta"]["stop_reason"] == "tool_use"
