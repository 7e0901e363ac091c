"""The OpenAPI document, made of the routes and of what their handlers say of themselves."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Iterator, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from .auth import PUBLIC
from .endpoint import ENDPOINTS, Endpoint, describes
from .errors import TYPES
from .notes import INTRO, NOTES
from .responses.error import ErrorAnswer
from .wire import json_response

Json = dict[str, Any]
REF = "#/components/schemas/{model}"
SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "x-api-key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
}


class Schemas(GenerateJsonSchema):
    """Pydantic's without titles, which only repeat the names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def openapi_router(routers: Sequence[APIRouter]) -> APIRouter:
    """`GET /openapi.json` for these routers and itself."""
    router = APIRouter()

    @functools.cache
    def made() -> Json:
        return document((*routers, router))

    @router.get("/openapi.json")
    @describes(answer=dict[str, Any])
    async def openapi(request: Request) -> Response:
        """This API as an OpenAPI 3.1 document."""
        return json_response(made())

    return router


def document(routers: Sequence[APIRouter]) -> Json:
    """The whole document."""
    routes = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
    for route in routes:
        assert route.endpoint in ENDPOINTS, f"{route.path} has no @describes"
    models = Models(ENDPOINTS[route.endpoint] for route in routes)
    paths: Json = {}
    for route in routes:
        for method in sorted(route.methods or ()):
            operation = Operation(route, primary_path(route, routes), models)
            paths.setdefault(route.path, {})[method.lower()] = operation.json()
    return {
        "openapi": "3.1.0",
        "info": {"title": "pannier", "version": version(), "description": INTRO},
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in NOTES.items()],
        "security": [{}, *({name: []} for name in SECURITY)],
        "paths": paths,
        "components": {"schemas": models.schemas, "securitySchemes": SECURITY},
    }


def version() -> str:
    from importlib.metadata import version

    return version("pannier")


def primary_path(route: APIRoute, routes: Sequence[APIRoute]) -> str:
    """The uppermost decorator's path, which is the last to be registered."""
    return [other.path for other in routes if other.endpoint is route.endpoint][-1]


class Models:
    """The schemas of every model that an endpoint names."""

    def __init__(self, endpoints: Iterator[Endpoint]) -> None:
        types: dict[Any, None] = {ErrorAnswer: None}
        for one in endpoints:
            named = (one.answer, one.event, one.body, one.path, one.query)
            types |= dict.fromkeys(type for type in named if type is not None)
        self._of, made = TypeAdapter.json_schemas(
            [(type, "validation", TypeAdapter(type)) for type in types],
            ref_template=REF,
            schema_generator=Schemas,
        )
        self.schemas = made["$defs"]

    def of(self, type: Any) -> Json:
        """The schema of one type: a reference, or built of references."""
        return self._of[type, "validation"]

    def properties(self, type: Any) -> Iterator[tuple[str, Json, bool]]:
        """A model's fields: name, schema, whether required."""
        schema = self.schemas[self.of(type)["$ref"].rpartition("/")[2]]
        for name, field in schema["properties"].items():
            yield name, field, name in schema.get("required", ())


class Operation:
    """One method of one path."""

    def __init__(self, route: APIRoute, primary: str, models: Models) -> None:
        self._route, self._primary, self._models = route, primary, models
        self._endpoint = ENDPOINTS[route.endpoint]

    def json(self) -> Json:
        """The operation object; empty parts are left out."""
        text = inspect.cleandoc(self._route.endpoint.__doc__ or "")
        summary, _, description = text.partition("\n")
        parts = {
            "operationId": self._id(),
            "summary": summary,
            "description": description.strip(),
            "x-alias-of": self._primary if self._primary != self._route.path else "",
            "x-example-path": self._endpoint.example_path,
            "parameters": [*self._parameters()],
            "requestBody": self._request_body(),
            "responses": {"200": self._answer(), **self._errors()},
        }
        found = {name: part for name, part in parts.items() if part}
        return {**found, "security": []} if self._route.path in PUBLIC else found

    def _id(self) -> str:
        name = self._route.endpoint.__name__
        if self._primary == self._route.path:
            return name
        return f"{name}_at_{re.sub(r'[^a-z0-9]+', '_', self._route.path.strip('/'))}"

    def _parameters(self) -> Iterator[Json]:
        for place, model in (("path", self._endpoint.path), ("query", self._endpoint.query)):
            for name, schema, required in self._models.properties(model) if model else ():
                yield {"name": name, "in": place, "required": required, "schema": schema}

    def _request_body(self) -> Json:
        if self._endpoint.body is None:
            return {}
        content: Json = {"schema": self._models.of(self._endpoint.body)}
        if self._endpoint.example is not None:
            content["example"] = self._endpoint.example
        return {"required": True, "content": {"application/json": content}}

    def _answer(self) -> Json:
        endpoint = self._endpoint
        media = endpoint.media_type.partition(";")[0]
        content: Json = {}
        if endpoint.answer is not None:
            content[media] = {"schema": self._models.of(endpoint.answer)}
        if endpoint.example_answer is not None:
            content[media]["example"] = endpoint.example_answer
        if endpoint.event is not None:
            content["text/event-stream"] = {"schema": self._event()}
        return {"description": "The answer.", "content": content}

    def _event(self) -> Json:
        """One event: readers of 3.1 take a stream's schema for that of its events."""
        data = {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": self._models.of(self._endpoint.event),
        }
        properties = {"event": {"type": "string"}, "data": data}
        return {"type": "object", "properties": properties, "required": ["data"]}

    def _errors(self) -> Json:
        schema = {"schema": self._models.of(ErrorAnswer)}
        statuses = {500, 503, *self._endpoint.errors}
        statuses |= {400, 413} if self._endpoint.body else set()
        statuses |= set() if self._route.path in PUBLIC else {401}
        return {
            str(status): {
                "description": TYPES.get(status, TYPES[400]),
                "content": {"application/json": schema},
            }
            for status in sorted(statuses)
        }
