"""OpenAI's responses, Anthropic's messages, and the lengths of their prompts."""

from __future__ import annotations

from typing import Any

from ..case import Case, refused

WHY = "OpenAI's own clients want it"
BEGUN = [f"others.{i}.response.{key}" for i in (0, 1) for key in ("created_at", "model", "output")]
RESPONSES = {
    **dict.fromkeys(("**.created_at", "**.completed_at"), "time"),
    **dict.fromkeys(("**.item_id", "**.call_id"), "drawn"),
    **dict.fromkeys(
        ("**.sequence_number", "**.output_index", "**.content_index", "others.*.logprobs"), WHY
    ),
    **dict.fromkeys(("**.parallel_tool_calls", "**.tool_choice", "**.tools"), WHY),
    **dict.fromkeys(("**.output_tokens_details", "**.incomplete_details"), WHY),
    **dict.fromkeys((*BEGUN, "**.item.status", "**.part.*"), WHY),
    "**.input_tokens_details.cached_tokens": "what is kept is each program's own affair",
    "others.*.response.output.*.status": "not there for reasoning in llama-server's streams",
}
MESSAGES = {
    **dict.fromkeys(
        ("**.usage.cache_read_input_tokens", "**.usage.input_tokens"),
        "what is kept is each program's own affair",
    ),
    **dict.fromkeys(("**.content_block.signature", "**.content_block.input"), "Anthropic's"),
}
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Bonn", "Rome"]}},
    "required": ["city"],
}
ABOUT = {"name": "get_weather", "description": "Weather of a city"}
CHAT_TOOLS = [{"type": "function", "function": {**ABOUT, "parameters": PARAMETERS}}]
TOOLS = [{"type": "function", **ABOUT, "parameters": PARAMETERS}]
NAMED = [{**ABOUT, "input_schema": PARAMETERS}]
USER = {"role": "user", "content": "Rain in Bonn?"}
CALLED = [
    USER,
    {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Ask."}]},
    {
        "type": "function_call",
        "call_id": "call_1",
        "name": "get_weather",
        "arguments": '{"city":"Bonn"}',
    },
    {"type": "function_call_output", "call_id": "call_1", "output": "Fog tomorrow"},
]
SAID = [
    USER,
    {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": "It will.", "annotations": []}],
    },
    {"role": "user", "content": [{"type": "input_text", "text": "When"}]},
]
USED = [
    USER,
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "Ask.", "signature": ""},
            {"type": "text", "text": "Let me see."},
            {"type": "tool_use", "id": "t1", "name": "get_weather", "input": {"city": "Bonn"}},
        ],
    },
    {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "t1", "content": "Rain"},
            {"type": "text", "text": "Well?"},
        ],
    },
]
LISTED = [
    *USED[:2],
    {
        "role": "user",
        "content": [
            {
                "type": "tool_result",
                "tool_use_id": "t1",
                "content": [{"type": "text", "text": "Rain"}, {"type": "text", "text": "y"}],
            }
        ],
    },
]
TURNS = [USER, {"role": "assistant", "content": "It will."}, {"role": "user", "content": "When"}]
IMAGE = {"type": "image", "source": {"type": "url", "url": "http://localhost/a.png"}}
BILLING = "x-anthropic-billing-header: cc_version=2.1; cch=a5145;You are kind."

INPUTS: dict[str, dict[str, Any]] = {
    "text": {"input": "Hello"},
    "instructions": {"input": "Hello", "instructions": "Be kind."},
    "a message": {"input": [USER]},
    "parts": {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}]},
    "a system message": {"input": [{"role": "system", "content": "Be kind."}, USER]},
    "turns": {"input": SAID},
    "a call and its output": {"input": CALLED, "tools": TOOLS},
    "tools": {"input": "Rain?", "tools": TOOLS},
    "no tools": {"input": "Rain?", "tools": TOOLS, "tool_choice": "none"},
    "other tools": {"input": "Rain?", "tools": [{"type": "web_search"}]},
    "effort": {"input": "Hello", "reasoning": {"effort": "low"}},
    "no thinking": {"input": "Hello", "reasoning": {"effort": "none"}},
    "a schema": {"input": "Rain?", "json_schema": PARAMETERS},
    "a form": {
        "input": "Rain?",
        "response_format": {"type": "json_schema", "json_schema": {"schema": PARAMETERS}},
    },
    "begun": {
        "input": [USER, {"type": "message", "role": "assistant", "content": "It "}],
    },
}
TOLD: dict[str, dict[str, Any]] = {
    "text": {"messages": [USER]},
    "system": {"messages": [USER], "system": "Be kind."},
    "system in blocks": {"messages": [USER], "system": [{"type": "text", "text": "Be kind."}]},
    "a stamp": {"messages": [USER], "system": BILLING},
    "turns": {"messages": TURNS},
    "a call and its result": {"messages": USED, "tools": NAMED},
    "a result in blocks": {"messages": LISTED, "tools": NAMED},
    "tools": {"messages": [USER], "tools": NAMED},
    "template": {"messages": [USER], "chat_template_kwargs": {"enable_thinking": False}},
    "begun": {"messages": [USER, {"role": "assistant", "content": "It "}]},
    "stop": {"messages": [USER], "stop_sequences": ["e", "h", "a"]},
    "disabled": {"messages": [USER], "thinking": {"type": "disabled"}},
}
# The first token has to be a whole character: llama-server begins a stream only with such a one.
SHORT = {"max_output_tokens": 24, "temperature": 0, "cache_prompt": False}
BUDGET = {"reasoning_budget_tokens": 3}
THINKING = {"thinking": {"type": "enabled", "budget_tokens": 3}}
LONG = 400


def response(name: str, world: str, **body: Any) -> Case:
    return Case(name, "/v1/responses", {**SHORT, **BUDGET, **body}, world=world, ignore=RESPONSES)


def message(name: str, world: str, **body: Any) -> Case:
    base = {"max_tokens": 24, "temperature": 0, **THINKING}
    return Case(name, "/v1/messages", {**base, **body}, world=world, ignore=MESSAGES)


def called(stream: bool) -> list[Case]:
    """Calls that the grammar forces."""
    how = "streamed" if stream else "whole"
    wants = {"tools": TOOLS, "tool_choice": "required", "max_output_tokens": LONG}
    uses = {"tools": NAMED, "max_tokens": LONG, "stream": stream}
    return [
        response(f"a call, {how}", "calls", input="Rain?", **wants, stream=stream),
        message(f"a use, {how}", "calls", messages=[USER], tool_choice={"type": "any"}, **uses),
        message(
            f"a use of one tool, {how}",
            "calls",
            messages=[USER],
            tool_choice={"type": "tool", "name": "get_weather"},
            **uses,
        ),
    ]


CASES = [
    *(response(f"response: {name}", "thinks", **body) for name, body in INPUTS.items()),
    *(
        response(f"response streamed: {name}", "thinks", **body, stream=True)
        for name, body in INPUTS.items()
    ),
    *(message(f"message: {name}", "thinks", **body) for name, body in TOLD.items()),
    *(
        message(f"message streamed: {name}", "thinks", **body, stream=True)
        for name, body in TOLD.items()
    ),
    *called(False),
    *called(True),
    *(
        Case(f"tokens of a response: {name}", "/v1/responses/input_tokens", body, world="thinks")
        for name, body in INPUTS.items()
    ),
    *(
        Case(f"tokens of a message: {name}", "/v1/messages/count_tokens", body, world="thinks")
        for name, body in TOLD.items()
    ),
    *(
        Case(f"tokens of a chat: {name}", "/v1/chat/completions/input_tokens", body, world="thinks")
        for name, body in {
            "text": {"messages": [USER]},
            "turns": {"messages": TURNS},
            "tools": {"messages": [USER], "tools": CHAT_TOOLS},
        }.items()
    ),
    Case("tokens at the other path", "/responses/input_tokens", {"input": "a"}),
    Case("tokens at a chat's other path", "/chat/completions/input_tokens", {"messages": [USER]}),
    Case("the other path", "/responses", {**SHORT, "input": "a"}, ignore=RESPONSES),
    refused("no input", "/v1/responses", {}),
    refused("a number as input", "/v1/responses", {"input": 3}),
    refused(
        "an answer that is not kept", "/v1/responses", {"input": "a", "previous_response_id": "r"}
    ),
    refused("an unknown item", "/v1/responses", {"input": [{"type": "item_reference", "id": "a"}]}),
    refused(
        "an unknown part",
        "/v1/responses",
        {"input": [{"role": "user", "content": [{"type": "x"}]}]},
    ),
    refused(
        "reasoning of nothing",
        "/v1/responses",
        {"input": [{"type": "reasoning", "summary": [], "content": []}]},
    ),
    refused("tools that are no list", "/v1/responses", {"input": "a", "tools": 3}),
    refused("a wrong form", "/v1/responses", {"input": "a", "response_format": {"type": "xml"}}),
    refused("top_logprobs alone", "/v1/responses", {"input": "a", "top_logprobs": 3}),
    refused("a wrong temperature", "/v1/messages", {"messages": [USER], "temperature": "hot"}),
    refused(
        "wrong template arguments",
        "/v1/messages",
        {"messages": [USER], "chat_template_kwargs": {"enable_thinking": "yes"}},
    ),
]
