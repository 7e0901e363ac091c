"""LangChain: `langchain_openai` on the server, `langchain_community` on `Llama`."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from .conftest import MODEL, SMALL
from .weather import Weather, get_weather

pytest.importorskip("langchain_openai")
from langchain_core.messages import AIMessageChunk, HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI, OpenAI

pytestmark = pytest.mark.engine


def chat(base_url: str, **options: Any) -> ChatOpenAI:
    given = {"temperature": 0, "max_tokens": 200, "max_retries": 0, **options}
    return ChatOpenAI(base_url=base_url, api_key="none", model="any", **given)


@pytest.mark.parametrize("responses", [False, True])
def test_chat(talks: str, responses: bool) -> None:
    model = chat(talks, max_tokens=40, use_responses_api=responses, stream_usage=True)
    whole = model.invoke("Hello")
    chunks = list(model.stream("Hello"))
    streamed = sum(chunks[1:], chunks[0])
    assert isinstance(streamed, AIMessageChunk) and len(chunks) > 5
    assert whole.text and whole.text == streamed.text
    assert whole.usage_metadata and streamed.usage_metadata
    assert whole.usage_metadata["output_tokens"] == streamed.usage_metadata["output_tokens"] == 40
    assert all(answer.text for answer in model.batch(["Hello", "And you?", "Hello again"]))


def test_completion(talks: str) -> None:
    model = OpenAI(base_url=talks, api_key="none", model="any", temperature=0, max_tokens=30)
    text = model.invoke("Hello")
    assert text and "".join(model.stream("Hello")) == text


@pytest.mark.parametrize("choice", ["any", "get_weather"])
def test_tools(calls: str, choice: str) -> None:
    def other(text: str) -> str:
        """Not this one."""
        return text

    tools = [get_weather] if choice == "any" else [other, get_weather]
    model = chat(calls).bind_tools(tools, tool_choice=choice)
    asked = HumanMessage("Weather?")
    answer = model.invoke([asked])
    (call,) = answer.tool_calls
    assert (call["name"], call["args"]["city"] in ("Bonn", "Rome")) == ("get_weather", True)
    first, *rest = model.stream([asked])
    streamed = sum(rest, first)
    assert isinstance(streamed, AIMessageChunk)
    assert [found["args"] for found in streamed.tool_calls] == [call["args"]]
    result = ToolMessage(get_weather(**call["args"]), tool_call_id=call["id"])
    assert chat(calls, max_tokens=5).invoke([asked, answer, result]).text


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_structured_output(calls: str, method: Any) -> None:
    found = chat(calls).with_structured_output(Weather, method=method).invoke("Weather?")
    assert isinstance(found, Weather)


@pytest.fixture
def community(llama_cpp: Any) -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is being sunset", DeprecationWarning)
        return pytest.importorskip("langchain_community")


OPTIONS: dict[str, Any] = {"model_path": str(MODEL), "n_ctx": 1024, "temperature": 0, **SMALL}


def test_llama(community: Any) -> None:
    from langchain_community.llms import LlamaCpp

    model = LlamaCpp(**OPTIONS, max_tokens=20)
    text = model.invoke("Hello")
    assert text and "".join(model.stream("Hello")) == text
    assert model.get_num_tokens("Hello") == len(model.client.tokenize(b"Hello"))
    chosen = LlamaCpp(**OPTIONS, max_tokens=20, grammar='root ::= "yes" | "no"')
    assert chosen.invoke("Hello") in ("yes", "no")
    for one in (model, chosen):
        one.client.close()


def test_chat_llama(community: Any) -> None:
    from langchain_community.chat_models import ChatLlamaCpp

    model = ChatLlamaCpp(**OPTIONS, max_tokens=60)
    text = model.invoke("Hello").text
    assert text and "".join(chunk.text for chunk in model.stream("Hello")) == text
    assert isinstance(model.with_structured_output(Weather).invoke("Weather?"), Weather)
    model.client.close()


def test_embeddings(community: Any) -> None:
    from langchain_community.embeddings import LlamaCppEmbeddings

    options = {name: value for name, value in OPTIONS.items() if name != "temperature"}
    model = LlamaCppEmbeddings(**options)
    row = model.embed_query("Hello")
    assert model.embed_documents(["Hello"])[0] == pytest.approx(row)
    model.client.close()
