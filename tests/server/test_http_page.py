"""docs/http.md says what the server does: routes, fields, defaults, shapes and examples."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute

from pannier.engine import Engine
from pannier.server.errors import ApiError
from pannier.server.requests.base import RequestBody
from pannier.server.requests.completion import CompletionBody, OpenAICompletionBody
from pannier.server.requests.conversation import ChatBody, ConversationBody
from pannier.server.requests.tokens import DetokenizeBody, TokenizeBody

from .conftest import letters, serving
from .test_clients import post, request
from .test_clients import serving as serving_for_real

PAGE = (Path(__file__).parents[2] / "docs" / "http.md").read_text("utf-8")
COMPLETIONS = ("/completion", "/v1/completions", "/v1/chat/completions")
WITH_BODY: dict[str, type[RequestBody]] = {
    "/completion": CompletionBody,
    "/v1/completions": OpenAICompletionBody,
    "/v1/chat/completions": ChatBody,
    "/apply-template": ConversationBody,
    "/tokenize": TokenizeBody,
    "/detokenize": DetokenizeBody,
}

Row = tuple[list[str], list[str]]
"""The names in a row's first cell, and its other cells."""


def section(title: str) -> str:
    """A heading's text, up to the next heading of its depth or above."""
    depth = title.index(" ")
    pattern = rf"^{re.escape(title)}\n(.*?)(?=^#{{1,{depth}}} |\Z)"
    match = re.search(pattern, PAGE, re.MULTILINE | re.DOTALL)
    assert match, f"docs/http.md has no {title!r}"
    return match[1]


def table(text: str, head: str) -> list[Row]:
    """The rows of the table whose first column is called `head`; empty if there is none."""
    match = re.search(rf"^\| {head} \|.*\n\|[-|]+\|\n((?:\|.*\n)*)", text, re.MULTILINE)
    lines = match[1].splitlines() if match else []
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [(re.findall(r"`([^`]+)`", cells[0]), cells[1:]) for cells in rows]


def names(text: str, head: str) -> set[str]:
    return {name for row, _ in table(text, head) for name in row}


def example(title: str) -> Any:
    """The JSON in a section."""
    match = re.search(r"^```json\n(.*?)^```", section(title), re.MULTILINE | re.DOTALL)
    assert match, f"{title!r} shows no JSON"
    return json.loads(match[1])


# ---------------------------------------------------------------- routes and fields


def test_endpoints_are_the_apps_routes() -> None:
    async def routes() -> set[tuple[str, str]]:
        async with serving(letters("a")) as world:
            known = [r for r in walk(world.app.routes) if isinstance(r, APIRoute)]
        return {(method, route.path) for route in known for method in route.methods}

    shown = set()
    for [endpoint], [also, _] in table(section("## Endpoints"), "endpoint"):
        method, path = endpoint.split()
        shown |= {(method, name) for name in [path, *re.findall(r"`([^`]+)`", also)]}
        assert f"\n## {endpoint}\n" in PAGE
    assert shown == asyncio.run(routes())


def walk(routes: Any) -> Iterator[Any]:
    """Routes, those of included routers too."""
    for route in routes:
        below = getattr(getattr(route, "original_router", None), "routes", None)
        yield from walk(below) if below else [route]


@pytest.mark.parametrize(("path", "model"), WITH_BODY.items())
def test_fields_are_those_of_the_models(path: str, model: type[RequestBody]) -> None:
    shown = names(section(f"## POST {path}"), "field")
    shared = section("## Fields of the three completions")
    if path in COMPLETIONS:
        shown |= names(shared, "field") | names(shared, "sampling")
    if path in (*COMPLETIONS, "/apply-template"):
        shown |= names(shared, "not yet")
    assert shown == set(model.model_json_schema()["properties"])


def test_errors() -> None:
    shown = re.findall(r"^\| (\d+) \| `(\w+)` \|", section("## Errors"), re.MULTILINE)
    assert len(shown) == 8
    for status, type in shown:
        if type != "exceed_context_size_error":
            assert ApiError("", status=int(status)).type == type
    assert example("## Errors")["error"].keys() == ApiError("").body().keys()


# ---------------------------------------------------------------- answers


@pytest.mark.parametrize("path", ["/completion", "/v1/completions"])
def test_fields_of_answers(path: str) -> None:
    async def run() -> Any:
        async with serving(letters("ok")) as world:
            return (await world.http.post(path, json={"prompt": "a", "n_probs": 1})).json()

    assert set(asyncio.run(run())) == names(section(f"## POST {path}"), "response")


def test_props_are_named() -> None:
    async def run() -> Any:
        async with serving(letters("ok")) as world:
            return (await world.http.get("/props")).json()

    named = set(re.findall(r"`(\w+)`", section("## GET /props")))
    assert named <= set(asyncio.run(run()))


def curls() -> list[tuple[str, str, bytes | None]]:
    """Method, path and body of every example."""
    found = []
    for line in re.findall(r"^```sh\n(curl .*)\n```", PAGE, re.MULTILINE):
        _, address, *data = shlex.split(line)
        path = address.removeprefix("http://127.0.0.1:9931")
        body = data[1].encode() if data else None
        found.append(("POST" if data else "GET", path, body))
    return found


def test_each_endpoint_has_an_example() -> None:
    endpoints = names(section("## Endpoints"), "endpoint")
    assert {f"{method} {path}" for method, path, _ in curls()} == endpoints


@pytest.mark.engine
def test_examples_and_reports_of_a_real_server(cpu_engine: Engine) -> None:
    """Every curl gets an answer; `/memory` and `/slots` have the fields that the page shows."""

    async def reports(server: Any) -> tuple[Any, Any]:
        async with post(server.port, "/completion", request([5, 6, 7], 3000)) as reader:
            await reader.readuntil(b"data: ")
            memory = await asyncio.to_thread(server.get, "/memory")
            return memory, await asyncio.to_thread(server.get, "/slots")

    with serving_for_real(cpu_engine, "-c", "4096", "-np", "2", "-t", "1") as server:
        for _, path, body in curls():
            url = f"http://127.0.0.1:{server.port}{path}"
            with urllib.request.urlopen(urllib.request.Request(url, body), timeout=60) as answer:
                assert answer.status == 200
                assert answer.read()
        memory, slots = asyncio.run(reports(server))
    memory["clients"] = [row for row in memory["clients"] if row["id"] is not None]
    shown = example("## GET /memory")
    allocated = shown.pop("allocated"), memory.pop("allocated")
    assert all(sum(row.values()) == shown["total_bytes"] for row in allocated[:1])
    assert sum(allocated[1].values()) == memory["total_bytes"]
    assert keys(memory) == keys(shown)
    assert keys(slots) == keys(example("## GET /slots"))
    rows = names(section("## GET /memory"), "row")
    assert rows == {*memory, "allocated"}


def keys(value: Any) -> Any:
    """A JSON value's fields without their values; lists by their members."""
    if isinstance(value, dict):
        return {key: keys(item) for key, item in value.items()}
    return [keys(item) for item in value] if isinstance(value, list) else None
