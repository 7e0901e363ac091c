"""Haystack: `OpenAIChatGenerator` on the server, `LlamaCppChatGenerator` on `Llama`."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from .conftest import MODEL, SMALL
from .weather import Weather, get_weather

pytest.importorskip("haystack")
from haystack.components.generators.chat import OpenAIChatGenerator, OpenAIResponsesChatGenerator
from haystack.dataclasses import ChatMessage, StreamingChunk
from haystack.tools import create_tool_from_function
from haystack.utils import Secret

pytestmark = pytest.mark.engine

HELLO = [ChatMessage.from_user("Hello")]
CALL = {"type": "function", "function": {"name": "get_weather"}}


def generator(base_url: str, **generation: Any) -> OpenAIChatGenerator:
    return OpenAIChatGenerator(
        model="any",
        api_base_url=base_url,
        api_key=Secret.from_token("none"),
        max_retries=0,
        generation_kwargs={"temperature": 0, "max_tokens": 200, **generation},
    )


def check(run: Any) -> None:
    """What is streamed is what is answered whole."""
    pieces: list[StreamingChunk] = []
    (whole,) = run(HELLO)["replies"]
    (streamed,) = run(HELLO, streaming_callback=pieces.append)["replies"]
    assert whole.text and whole.text == streamed.text
    assert "".join(piece.content for piece in pieces) == whole.text


def test_chat(talks: str) -> None:
    async def later() -> Any:
        answer = await model.run_async(HELLO)
        await model.async_client.close()
        return answer["replies"][0]

    model = generator(talks, max_tokens=40)
    check(model.run)
    assert asyncio.run(later()).text


def test_responses(talks: str) -> None:
    options = {"temperature": 0, "max_output_tokens": 40}
    key = Secret.from_token("none")
    check(
        OpenAIResponsesChatGenerator(
            model="any", api_base_url=talks, api_key=key, generation_kwargs=options
        ).run
    )


def test_tools(calls: str) -> None:
    tools = [create_tool_from_function(get_weather)]
    model = generator(calls, tool_choice=CALL)
    for more in ({}, {"streaming_callback": lambda piece: None}):
        (call,) = model.run(HELLO, tools=tools, **more)["replies"][0].tool_calls
        assert call.tool_name == "get_weather" and call.arguments["city"] in ("Bonn", "Rome")


def test_structured_output(calls: str) -> None:
    (answer,) = generator(calls, response_format=Weather).run(HELLO)["replies"]
    assert Weather.model_validate_json(answer.text or "")


def test_llama(llama_cpp: Any) -> None:
    pytest.importorskip("haystack_integrations.components.generators.llama_cpp")
    from haystack_integrations.components.generators.llama_cpp import LlamaCppChatGenerator

    model = LlamaCppChatGenerator(
        model=str(MODEL),
        n_ctx=1024,
        model_kwargs={**SMALL},
        generation_kwargs={"temperature": 0, "max_tokens": 20},
    )
    model.warm_up()
    check(model.run)
    tools = [create_tool_from_function(get_weather)]
    (answer,) = model.run(HELLO, {"tool_choice": CALL, "max_tokens": 60}, tools=tools)["replies"]
    assert answer.tool_calls[0].arguments["city"] in ("Bonn", "Rome")
    form = {"type": "json_object", "schema": Weather.model_json_schema()}
    (answer,) = model.run(HELLO, {"response_format": form, "max_tokens": 60})["replies"]
    assert Weather.model_validate(json.loads(answer.text))
    model.close()
