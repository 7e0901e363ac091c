"""LlamaIndex: `OpenAILike` on the server, `LlamaCPP` on `Llama`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from .conftest import MODEL, SMALL
from .weather import Weather, get_weather

pytest.importorskip("llama_index.core")
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool

pytestmark = pytest.mark.engine

HELLO = [ChatMessage(role="user", content="Hello")]


def like(base_url: str, **options: Any) -> Any:
    """Skips where a newer openai is installed than the integration takes."""
    pytest.importorskip("llama_index.llms.openai_like")
    from llama_index.llms.openai_like import OpenAILike

    kinds = {"is_chat_model": True, "is_function_calling_model": True, "context_window": 8192}
    given = {"temperature": 0, "max_tokens": 200, "max_retries": 0, **kinds, **options}
    return OpenAILike(model="any", api_base=base_url, api_key="none", **given)


def test_chat(talks: str) -> None:
    async def later() -> Any:
        answer = await model.achat(HELLO)
        await model._get_aclient().close()
        return answer

    model = like(talks, max_tokens=40)
    text = model.chat(HELLO).message.content
    assert text and "".join(part.delta or "" for part in model.stream_chat(HELLO)) == text
    assert asyncio.run(later()).message.content == text
    assert model.complete("Hello").text == text


def test_completion(talks: str) -> None:
    model = like(talks, is_chat_model=False, max_tokens=30)
    text = model.complete("Hello").text
    assert text and "".join(part.delta or "" for part in model.stream_complete("Hello")) == text


def test_tools(calls: str) -> None:
    model = like(calls)
    tools = [FunctionTool.from_defaults(lambda text: text, name="other"),
             FunctionTool.from_defaults(get_weather)]  # fmt: skip
    answer = model.chat_with_tools(tools, user_msg="Weather?", tool_choice="get_weather")
    (call,) = model.get_tool_calls_from_response(answer)
    assert (call.tool_name, call.tool_kwargs["city"] in ("Bonn", "Rome")) == ("get_weather", True)
    said = model.predict_and_call(tools[1:], user_msg="Weather?", tool_required=True)
    assert str(said).startswith("Rain in ")


@pytest.mark.parametrize("by_schema", [False, True])
def test_structured_output(calls: str, by_schema: bool) -> None:
    model = like(calls, should_use_structured_outputs=by_schema).as_structured_llm(Weather)
    assert isinstance(model.complete("Weather?").raw, Weather)


def test_llama(llama_cpp: Any) -> None:
    pytest.importorskip("llama_index.llms.llama_cpp")
    from llama_index.llms.llama_cpp import LlamaCPP

    model = LlamaCPP(
        model_path=str(MODEL),
        temperature=0,
        max_new_tokens=20,
        context_window=1024,
        model_kwargs={**SMALL},
    )
    text = model.complete("Hello").text
    assert text and "".join(part.delta or "" for part in model.stream_complete("Hello")) == text
    assert model.chat(HELLO).message.content
    assert model.metadata.context_window == 1024
    model._model.close()
