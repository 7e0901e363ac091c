"""Prompt, grammar and the rest are llama-server's, for each template of the pinned tree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from pannier import ChatError, Model
from pannier.chat import schema_to_grammar
from pannier.engine import Engine, source_tree
from pannier.server.adapters import AdapterList
from pannier.server.defaults import sampling_of
from pannier.server.messages import Ready
from pannier.server.requests.chat import ChatBody
from pannier.server.settings import ServerSettings
from pannier.server.state import Serving
from pannier.text import Pieces

from .llama_server import TINY, llama_client

pytestmark = pytest.mark.engine

N_PARTS = 6
EOS = 2
ONE_TOKEN = {"n_predict": 1, "logit_bias": {str(EOS): 1000}}
"""The end at once, where the grammar lets it."""
UNABLE = (
    "Failed to initialize samplers",  # no tokens for what the template begins the answer with
    "exceed_context_size_error",
    "does not match the expected",
)
NAMES = (
    "chat_format",
    "grammar",
    "grammar_lazy",
    "generation_prompt",
    "preserved_tokens",
    "stop",
    "grammar_triggers",
)
"""Of llama-server's `generation_settings`."""
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer", "minimum": 1, "maximum": 14},
                "unit": {"enum": ["C", "F"]},
            },
            "required": ["city"],
        },
    },
}
CALENDAR = {
    "type": "function",
    "function": {
        "name": "add_date",
        "description": "Note a date",
        "parameters": {
            "type": "object",
            "properties": {
                "at": {"type": "string", "format": "date-time"},
                "guests": {"type": "array", "items": {"type": "string"}},
            },
            "required": ["at", "guests"],
        },
    },
}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Rain in Bonn?"}]
CALL = {
    "id": "call00001",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"city": "Bonn"}'},
}
ANSWERED = [
    *ASKED,
    {"role": "assistant", "content": "", "reasoning_content": "Ask.", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call00001", "name": "get_weather", "content": "Rain"},
]
BEGUN = [*ASKED, {"role": "assistant", "content": "It will"}]
TOOLS = {"tools": [WEATHER, CALENDAR]}
CASES: dict[str, dict[str, Any]] = {
    "plain": {"messages": ASKED},
    "tools": {"messages": ASKED, **TOOLS},
    "no thinking": {"messages": ASKED, "chat_template_kwargs": {"enable_thinking": False}},
    "tools, no thinking": {
        "messages": ASKED,
        **TOOLS,
        "chat_template_kwargs": {"enable_thinking": False},
    },
    "required": {"messages": ASKED, **TOOLS, "tool_choice": "required"},
    "one by one": {"messages": ASKED, **TOOLS, "parallel_tool_calls": False},
    "none": {"messages": ASKED, **TOOLS, "tool_choice": "none"},
    "answered": {"messages": ANSWERED, **TOOLS},
    "schema": {"messages": ASKED, "json_schema": SCHEMA},
    "object": {"messages": ASKED, "response_format": {"type": "json_object"}},
    "begun": {"messages": BEGUN},
    "reasoning in content": {"messages": ASKED, "reasoning_format": "none"},
    "effort": {"messages": ASKED, "reasoning_effort": "low"},
}


class Known:
    """A client that has an engine's word."""

    info = Ready(4096, 4096, 2, 512, 0.0)


@pytest.fixture(scope="module")
def serving(pannier: Any) -> Iterator[Serving]:
    """The HTTP side, without a server around it."""
    with Model(TINY, vocab_only=True, devices=("none",)) as model:
        yield Serving(
            client=Known(),  # type: ignore[arg-type]
            vocabulary=model,
            settings=ServerSettings(str(TINY)),
            pieces=Pieces(model),
            sampling=sampling_of(model.metadata),
            all_pieces=Pieces(model, special=True),
            adapters=AdapterList(),
        )


def ours(body: dict[str, Any], serving: Serving) -> dict[str, Any]:
    """What the engine side would be told."""
    read = ChatBody.read(body, serving)
    try:
        chat, _ = serving.vocabulary.render_chat(read.conversation(serving).request)
    except ChatError:
        return {"refused": True}
    sampling = read.answer(serving, chat).sampling
    return {
        "prompt": chat.prompt,
        "chat_format": chat.format,
        "grammar": sampling.grammar,
        "grammar_lazy": sampling.grammar_lazy,
        "generation_prompt": sampling.generation_prompt,
        "preserved_tokens": sorted(chat.preserved_tokens),
        "stop": list(chat.stops),
        "grammar_triggers": [
            {"type": t.type, "value": t.value, **({"token": t.token} if t.type == 0 else {})}
            for t in sampling.grammar_triggers
        ],
    }


def theirs(body: dict[str, Any], client: httpx.Client) -> dict[str, Any]:
    """The same out of llama-server's mouth; the prompt alone where the tiny model cannot go on."""
    rendered = client.post("/apply-template", json=body)
    if rendered.status_code != 200:
        return {"refused": True}
    prompt = {"prompt": rendered.json()["prompt"]}
    answer = client.post("/v1/chat/completions", json={**body, **ONE_TOKEN, "verbose": True})
    if any(words in answer.text for words in UNABLE):
        return prompt
    assert answer.status_code == 200, answer.text
    told = answer.json()["__verbose"]["generation_settings"]
    if "response_format" in body and not told["grammar"]:
        told["grammar"] = schema_to_grammar(
            {"type": "object"}
        )  # which llama-server forgets with some templates
    return {**prompt, **{name: told[name] for name in NAMES}}


@pytest.mark.parametrize("part", range(N_PARTS))
def test_like_llama_server(part: int, serving: Serving, tools_engine: Engine) -> None:
    templates = sorted((source_tree() / "models" / "templates").glob("*.jinja"))
    n_same = 0
    for path in templates[part::N_PARTS]:
        flags = ("--chat-template-file", str(path), "-c", "65536")
        with llama_client(tools_engine, *flags) as client:
            serving.vocabulary.set_chat_template(path.read_text("utf-8"))  # type: ignore[attr-defined]
            for name, body in CASES.items():
                want = theirs(body, client)
                got = ours(body, serving)
                assert {key: got.get(key) for key in want} == want, (path.stem, name)
                n_same += len(want) > 1
    assert n_same > 8 * len(templates[part::N_PARTS])
