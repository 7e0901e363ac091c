"""docs/http.md is what the code says, and the document behind it is whole."""

from __future__ import annotations

import asyncio
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fastapi.routing import APIRoute
from pydantic import TypeAdapter

from pannier.server.app import openapi_document
from pannier.server.endpoint import ENDPOINTS, Endpoint
from pannier.server.errors import ApiError
from pannier.server.notes import ERRORS

from .conftest import letters, serving

DOCS = Path(__file__).parents[2] / "docs"


def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("http_page", DOCS / "http_page.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date() -> None:
    assert (DOCS / "http.md").read_text("utf-8") == maker().page(), "run python docs/http_page.py"


def test_links_of_the_page_have_their_headings() -> None:
    page = maker().page()
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    assert len(set(headings)) == len(headings), "two of the same name"
    links = set(re.findall(r"\]\(#([^)]+)\)", page))
    assert links <= {heading.lower().replace(" ", "-") for heading in headings}


def walk(routes: Any) -> Iterator[Any]:
    """Routes, those of included routers too."""
    for route in routes:
        below = getattr(getattr(route, "original_router", None), "routes", None)
        yield from walk(below) if below else [route]


def test_every_route_is_in_the_document() -> None:
    async def run() -> tuple[Any, set[tuple[str, str]]]:
        async with serving(letters("a")) as world:
            known = [r for r in walk(world.app.routes) if isinstance(r, APIRoute)]
            answer = await world.http.get("/openapi.json")
            return answer.json(), {(r.path, m.lower()) for r in known for m in r.methods}

    document, routes = asyncio.run(run())
    assert document == openapi_document()
    assert {(path, m) for path, methods in document["paths"].items() for m in methods} == routes


def operations() -> list[Any]:
    return [
        pytest.param(operation, id=f"{method} {path}")
        for path, methods in openapi_document()["paths"].items()
        for method, operation in methods.items()
    ]


ALONE = ("openapi", "memory_stream")
"""One is its own example, the other's events are another's answer."""


@pytest.mark.parametrize("operation", operations())
def test_operations_have_summary_and_example(operation: dict[str, Any]) -> None:
    assert operation["summary"].endswith(".")
    media = next(iter(operation["responses"]["200"]["content"].values()))
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    assert "example" in body or "example" in media or operation["operationId"] in ALONE


def test_references_lead_somewhere_and_fields_are_described() -> None:
    document = openapi_document()
    schemas = document["components"]["schemas"]
    assert {ref.rpartition("/")[2] for ref in references(document)} <= schemas.keys()
    for name, schema in schemas.items():
        if name.endswith("Body"):
            for field, inner in schema["properties"].items():
                assert "description" in inner or inner.get("x-section") == "Refused", (name, field)


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from references(inner)


@pytest.mark.parametrize("endpoint", ENDPOINTS.values(), ids=[f.__name__ for f in ENDPOINTS])
def test_examples_fit_their_models(endpoint: Endpoint) -> None:
    assert (endpoint.body is None) == (endpoint.example is None)
    if endpoint.body is not None:
        TypeAdapter(endpoint.body).validate_python(endpoint.example)
    if endpoint.example_answer is not None:
        TypeAdapter(endpoint.answer).validate_python(endpoint.example_answer)


def test_a_server_with_keys_shows_its_document_to_those_who_have_one() -> None:
    async def run() -> list[int]:
        async with serving(letters("a"), api_keys=("k",)) as world:
            headers = [{}, {"Authorization": "Bearer k"}]
            got = [await world.http.get("/openapi.json", headers=h) for h in headers]
            return [answer.status_code for answer in got]

    assert asyncio.run(run()) == [401, 200]


def test_the_table_of_errors() -> None:
    shown = re.findall(r"^\| (\d+) \| `(\w+)` \|", ERRORS, re.MULTILINE)
    assert len(shown) == 10
    for status, type in shown:
        if type != "exceed_context_size_error":
            assert ApiError("", status=int(status)).type == type
