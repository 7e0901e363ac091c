"""DSPy: a provider of its own on the server, an engine of its own on `Llama`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Literal

import pytest

from .conftest import MODEL, SMALL
from .weather import get_weather

dspy = pytest.importorskip("dspy")
lm15 = pytest.importorskip("dspy.lm15")

pytestmark = pytest.mark.engine

OPTIONS: dict[str, Any] = {"temperature": 0, "max_tokens": 200, "cache": False, "num_retries": 0}


@pytest.fixture(scope="module", autouse=True)
def provider() -> Iterator[None]:
    """What `pannier serve` can do, which nobody else could tell DSPy."""
    lm15.register_provider(
        lm15.ProviderDefinition.chat(
            lm15.AccessPolicy(provider="pannier", base_url="http://127.0.0.1:8080/v1"),
            compat=lm15.OpenAIChatCompat.preset("vllm"),
            placeholder_key="none",
        ),
        supports=lm15.ModelSupport(function_calling=True, response_schema=True),
    )
    yield
    lm15.unregister_provider("pannier")


class Where(dspy.Signature):
    """Say where it rains."""

    question: str = dspy.InputField()
    city: Literal["Bonn", "Rome"] = dspy.OutputField()


class Call(dspy.Signature):
    """Use a tool."""

    question: str = dspy.InputField()
    tools: list[dspy.Tool] = dspy.InputField()
    calls: dspy.ToolCalls = dspy.OutputField()


def test_text(talks: str) -> None:
    (answer,) = dspy.LM("pannier/any", api_base=talks, **OPTIONS)("Hello")
    assert answer["text"] and answer["reasoning_content"]


def test_predict(calls: str) -> None:
    lm = dspy.LM("pannier/any", api_base=calls, **OPTIONS)
    with dspy.context(lm=lm, adapter=dspy.JSONAdapter()):
        predict = dspy.Predict(Where)
        assert predict(question="Weather?").city in ("Bonn", "Rome")
        assert asyncio.run(predict.acall(question="Weather?")).city in ("Bonn", "Rome")


def test_streamed(calls: str) -> None:
    async def read() -> list[Any]:
        stream = dspy.streamify(dspy.Predict(Where))
        return [part async for part in stream(question="Weather?")]

    lm = dspy.LM("pannier/any", api_base=calls, **OPTIONS)
    with dspy.context(lm=lm, adapter=dspy.JSONAdapter()):
        *parts, last = asyncio.run(read())
    assert len(parts) > 5 and last.city in ("Bonn", "Rome")


def test_tools(calls: str) -> None:
    lm = dspy.LM("pannier/any", api_base=calls, **OPTIONS)
    adapter = dspy.ChatAdapter(use_native_function_calling=True)
    with dspy.context(lm=lm, adapter=adapter):
        predict = dspy.Predict(Call, tool_choice="required")
        found = predict(question="Weather?", tools=[dspy.Tool(get_weather)]).calls
    assert found.tool_calls[0].execute().startswith("Rain in ")


class LlamaEngine:
    """What `dspy.LM(engine=...)` wants."""

    supports_response_schema = True
    supported_params = ("response_format",)

    def __init__(self, llama: Any) -> None:
        self.llama = llama

    def complete(self, request: Any) -> Any:
        head = [{"role": "system", "content": request.system}] if request.system else []
        told = [{"role": message.role, "content": message.text} for message in request.messages]
        names = ("temperature", "max_tokens", "response_format")
        options = {name: getattr(request.config, name) for name in names}
        return lm15.response_from_openai_chat(
            self.llama.create_chat_completion(head + told, **options)
        )


def test_llama(pannier: Any) -> None:
    with pannier.Llama(str(MODEL), n_ctx=2048, **SMALL) as llama:
        lm = dspy.LM("pannier/any", engine=LlamaEngine(llama), **OPTIONS)
        (answer,) = lm("Hello")
        assert answer
        with dspy.context(lm=lm, adapter=dspy.JSONAdapter()):
            assert dspy.Predict(Where)(question="Weather?").city in ("Bonn", "Rome")
