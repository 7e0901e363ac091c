"""`chatml-function-calling`: the model calls functions or answers, whole and in a stream.

No tiny model calls functions by itself: tokens of a script stand in for the engine's where calls
are read. Prompt, parser and shapes are real.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pannier.llama import tool_calls
from pannier.llama.tokens import Token

LLAMA = str(Path(__file__).parents[1] / "data" / "llama" / "model-f32.gguf")
HELLO = [{"role": "user", "content": "hello"}]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {
                "type": "object",
                "properties": {"ok": {"type": "boolean"}},
                "required": ["ok"],
            },
        },
    }
    for name in ("look_up", "forget")
]
CALLS = (
    '<tool_call>\n{"name": "look_up", "arguments": {"ok": true}}\n</tool_call>\n'
    '<tool_call>\n{"name": "forget", "arguments": {"ok": false}}\n</tool_call>'
)

pytestmark = pytest.mark.engine


@pytest.fixture
def llama(pannier: Any) -> Iterator[Any]:
    options = {"n_ctx": 1024, "n_threads": 1, "n_threads_batch": 1, "verbose": False}
    with pannier.Llama(LLAMA, chat_format="chatml-function-calling", **options) as llama:
        yield llama


@pytest.fixture
def says(llama: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Has the model say a text."""

    def say(text: str) -> None:
        tokens = llama.tokenize(text.encode(), add_bos=False)

        def scripted(pool: Any, prompt: Any, wanted: Any) -> Iterator[Token]:
            return (Token(token) for token in tokens[: wanted.max_tokens])

        monkeypatch.setattr(tool_calls, "sampled", scripted)

    return say


def whole(llama: Any, **options: Any) -> Any:
    return llama.create_chat_completion(HELLO, tools=TOOLS, **options)["choices"][0]


def test_calls(llama: Any, says: Callable[[str], None]) -> None:
    says(CALLS)
    choice = whole(llama)
    assert choice["finish_reason"] == "tool_calls"
    calls = choice["message"]["tool_calls"]
    assert [call["function"]["name"] for call in calls] == ["look_up", "forget"]
    assert [json.loads(call["function"]["arguments"])["ok"] for call in calls] == [True, False]
    assert [call["id"][:7] for call in calls] == ["call__0", "call__1"]
    assert choice["message"]["content"] is None
    assert "function_call" not in choice["message"]


def test_one_call_is_the_older_function_call_too(llama: Any, says: Callable[[str], None]) -> None:
    says("I look.\n" + CALLS.partition("\n<tool")[0])
    choice = whole(llama)
    [call] = choice["message"]["tool_calls"]
    assert choice["message"]["function_call"] == call["function"]
    assert choice["message"]["content"].strip() == "I look."


def test_an_answer_without_a_call(llama: Any, says: Callable[[str], None]) -> None:
    says("no, thanks")
    choice = whole(llama, tool_choice="auto")
    assert choice["message"] == {"role": "assistant", "content": "no, thanks"}
    assert choice["finish_reason"] == "stop"
    cut = whole(llama, max_tokens=2)
    assert cut["finish_reason"] == "length"
    stopped = whole(llama, stop=[","])
    assert (stopped["message"]["content"], stopped["finish_reason"]) == ("no", "stop")


def test_a_stream(llama: Any, says: Callable[[str], None]) -> None:
    says(CALLS)
    chunks = list(llama.create_chat_completion(HELLO, tools=TOOLS, stream=True))
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    parts = [part for delta in deltas for part in delta.get("tool_calls", ())]
    names = [part["function"]["name"] for part in parts if "name" in part["function"]]
    assert names == ["look_up", "forget"]
    for index, ok in enumerate((True, False)):
        arguments = [one["function"]["arguments"] for one in parts if one["index"] == index]
        assert json.loads("".join(arguments)) == {"ok": ok}
    assert deltas[0] == {"role": "assistant"}
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert len({chunk["id"] for chunk in chunks}) == 1


def test_the_engine_samples(llama: Any) -> None:
    """With the grammar that waits for a call, and with the one that wants one."""
    for choice in ("auto", "required"):
        found = whole(llama, tool_choice=choice, temperature=0.0, max_tokens=12)
        assert found["finish_reason"] == "length"
        assert found["message"]["content"]


def test_a_function_that_has_to_be_called(llama: Any) -> None:
    choice = {"type": "function", "function": {"name": "forget"}}
    found = llama.create_chat_completion(HELLO, tools=TOOLS, tool_choice=choice, temperature=0.0)
    [call] = found["choices"][0]["message"]["tool_calls"]
    assert call["function"]["name"] == "forget"
    assert set(json.loads(call["function"]["arguments"])) == {"ok"}


def test_without_tools_it_is_chatml(pannier: Any, llama: Any) -> None:
    options = {"temperature": 0.0, "max_tokens": 6}
    plain = llama.create_chat_completion(HELLO, **options)
    none = llama.create_chat_completion(HELLO, tools=TOOLS, tool_choice="none", **options)
    assert plain["choices"] == none["choices"]
    assert "tool_calls" not in plain["choices"][0]["message"]


def test_what_tools_do_not_go_together_with(pannier: Any, llama: Any) -> None:
    for more, word in (
        ({"tool_choice": "often"}, "tool_choice is 'often'"),
        ({"tool_choice": {"type": "function", "function": {"name": "x"}}}, "'x' not found"),
        ({"logprobs": True}, "logprobs and tools"),
        ({"mirostat_mode": 2, "repeat_penalty": 1.1}, "penalties with mirostat"),
        ({"response_format": {"type": "json_object"}}, "response_format and tools"),
    ):
        with pytest.raises(pannier.errors.ArgumentError, match=word):
            llama.create_chat_completion(HELLO, tools=TOOLS, **more)
