"""Chat completions, whole and streamed, and the template alone."""

from __future__ import annotations

import asyncio
from typing import Any

from openai import AsyncOpenAI

from pannier.server.messages import Submit

from .conftest import BOS, FakeVocabulary, endless, events, letters, serving, steps
from .test_completion import post

HELLO = [{"role": "user", "content": "hello"}]


def test_whole() -> None:
    answer, seen = post("/v1/chat/completions", {"messages": HELLO}, steps("Hi", "!"))
    assert bytes(seen[0].prompt[1:]) == b"u:hello\na:"
    got = answer.json()
    assert got["object"] == "chat.completion"
    assert got["choices"] == [
        {
            "finish_reason": "stop",
            "index": 0,
            "message": {"role": "assistant", "content": "Hi!"},
        }
    ]
    assert got["usage"]["prompt_tokens"] == len(seen[0].prompt)
    assert got["usage"]["prompt_tokens_details"] == {"cached_tokens": 2}
    assert got["id"].startswith("chatcmpl-")
    assert got["timings"]["cache_n"] == 2


def test_stream() -> None:
    body = {"messages": HELLO, "stream": True, "max_tokens": 5}
    answer, seen = post("/v1/chat/completions", body, steps("Hi", ' "é"\n'))
    assert seen[0].max_tokens == 5
    *chunks, done = events(answer.content)
    assert done == "[DONE]"
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": None},
        *({"content": letter} for letter in 'Hi "é"\n'),
        {},
    ]
    reasons = [c["choices"][0]["finish_reason"] for c in chunks]
    assert set(reasons[:-1]) == {None} and reasons[-1] == "stop"
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert "timings" in chunks[-1]


def test_stream_with_usage() -> None:
    body = {"messages": HELLO, "stream": True, "stream_options": {"include_usage": True}, "n": 2}
    *chunks, usage, _ = events(post("/v1/chat/completions", body, steps("Hi"))[0].content)
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 6
    assert usage["usage"]["prompt_tokens"] == len(b"u:hello\na:") + 1
    assert not any("timings" in chunk for chunk in chunks)
    assert "timings" in usage
    for index in (0, 1):
        mine = [c["choices"][0] for c in chunks if c["choices"][0]["index"] == index]
        assert "".join(m["delta"].get("content") or "" for m in mine) == "Hi"


def test_logprobs() -> None:
    body: dict[str, Any] = {"messages": HELLO, "logprobs": True, "top_logprobs": 1}
    answer, _ = post("/v1/chat/completions", body, letters("ab"))
    content = answer.json()["choices"][0]["logprobs"]["content"]
    assert [p["token"] for p in content] == ["a", "b"]
    answer, _ = post("/v1/chat/completions", {**body, "stream": True}, letters("ab"))
    chunks = events(answer.content)[1:3]
    found = [c["choices"][0]["logprobs"]["content"][0]["token"] for c in chunks]
    assert found == ["a", "b"]
    _, seen = post("/v1/chat/completions", {"messages": HELLO, "logprobs": True}, letters("a"))
    assert seen[0].n_probs == 20


def test_the_templates_stops_count() -> None:
    class Stopping(FakeVocabulary):
        stops = ("<end>",)

    body = {"messages": HELLO, "stop": "no"}
    answer, _ = post("/v1/chat/completions", body, letters("Hi<end>more"), vocabulary=Stopping())
    assert answer.json()["choices"][0]["message"]["content"] == "Hi"


def test_parts_and_template_arguments() -> None:
    body = {
        "messages": [
            {"role": "system", "content": None},
            {
                "role": "user",
                "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
            },
        ],
        "chat_template_kwargs": {"style": "short"},
        "reasoning_effort": "none",
        "tools": [],
        "response_format": {"type": "text"},
    }
    _, seen = post("/v1/chat/completions", body, steps("Hi"))
    assert bytes(seen[0].prompt[1:]) == b"s:\nu:ab\nstyle=short\nquiet\na:"


def test_apply_template() -> None:
    answer, seen = post("/apply-template", {"messages": HELLO}, steps("Hi"))
    assert answer.json() == {"prompt": "u:hello\na:"}
    assert not [m for m in seen if isinstance(m, Submit)]


def test_openai_client() -> None:
    """The library that most clients use reads all of it."""

    async def run() -> None:
        async with serving(letters("Hé!")) as world:
            openai = AsyncOpenAI(base_url="http://test/v1", api_key="none", http_client=world.http)
            whole = await openai.chat.completions.create(model="m", messages=HELLO)  # type: ignore[arg-type]
            assert whole.choices[0].message.content == "Hé!"
            assert whole.usage is not None and whole.usage.completion_tokens == 5
            stream = await openai.chat.completions.create(
                model="m",
                messages=HELLO,  # type: ignore[arg-type]
                stream=True,
                logprobs=True,
                stream_options={"include_usage": True},
            )
            text, usage = "", None
            async for chunk in stream:
                text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
                usage = chunk.usage or usage
            assert text == "Hé!"
            assert usage is not None and usage.prompt_tokens == 11
            legacy = await openai.completions.create(model="m", prompt="x", max_tokens=2)
            assert legacy.choices[0].text == "H\ufffd"
            assert (await openai.models.list()).data[0].id == "m.gguf"

    asyncio.run(run())


def test_prompt_has_its_beginning_once() -> None:
    _, seen = post("/v1/chat/completions", {"messages": HELLO, "max_tokens": 1}, endless)
    assert seen[0].prompt.count(BOS) == 1
