"""instructor, on the server and on `Llama`."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest

from .conftest import MODEL, SMALL
from .weather import Weather

instructor = pytest.importorskip("instructor")

pytestmark = pytest.mark.engine

MODES = ["TOOLS", "JSON_SCHEMA", "RESPONSES_TOOLS"]
ASKED: dict[str, Any] = {
    "model": "any",
    "messages": [{"role": "user", "content": "Weather?"}],
    "max_tokens": 200,
    "temperature": 0,
    "max_retries": 0,
}


@pytest.mark.parametrize("name", MODES)
def test_server(calls: str, name: str) -> None:
    mode = instructor.Mode[name]
    with openai.OpenAI(base_url=calls, api_key="none", max_retries=0) as plain:
        client = instructor.from_openai(plain, mode=mode)
        assert isinstance(client.create(response_model=Weather, **ASKED), Weather)
        *_, last = client.create_partial(response_model=Weather, **ASKED)
        assert last.city in ("Bonn", "Rome")


def test_coroutines(calls: str) -> None:
    async def ask() -> Any:
        async with openai.AsyncOpenAI(base_url=calls, api_key="none") as plain:
            return await instructor.from_openai(plain).create(response_model=Weather, **ASKED)

    assert isinstance(asyncio.run(ask()), Weather)


@pytest.mark.parametrize("name", ["TOOLS", "JSON_SCHEMA"])
def test_llama(pannier: Any, name: str) -> None:
    with pannier.Llama(str(MODEL), n_ctx=1024, **SMALL) as llama:
        create = instructor.patch(
            create=llama.create_chat_completion_openai_v1, mode=instructor.Mode[name]
        )
        assert isinstance(create(response_model=Weather, **ASKED), Weather)
        *_, last = create(response_model=instructor.Partial[Weather], stream=True, **ASKED)
        assert last.city in ("Bonn", "Rome")
