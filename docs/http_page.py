"""Write `http.md` from the OpenAPI document: `python docs/http_page.py`.

The script cannot be called `http.py`: it would hide the standard library's module."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pannier.server.app import openapi_document

Json = dict[str, Any]
PAGE = Path(__file__).with_name("http.md")
URL = "http://127.0.0.1:9931"
NAMES = {"integer": "whole number", "string": "string", "number": "number", "boolean": "boolean"}
NULL = {"type": "null"}
REFUSED = "Refused"
SECTIONS = {
    "Conversation": "Of a conversation: `/v1/chat/completions`, its `/input_tokens`, "
    "`/apply-template`, and but for `messages` `/v1/responses`.",
    "Generation": "Of `/completion`, `/v1/completions`, `/v1/chat/completions` and "
    "`/v1/responses`. Where a row has several names, the first that is given counts.",
    "Sampling": "Of the same four. Numbers outside their range are moved to its border "
    '("clamped") or refused. Defaults are llama.cpp\'s; those that the model file '
    "names (`general.sampling.*`) come before them, and `/props` shows what holds.",
}


def page() -> str:
    """The whole page."""
    document = openapi_document()
    return "\n".join(Page(document).lines()) + "\n"


class Page:
    """The document as markdown."""

    def __init__(self, document: Json) -> None:
        self._document = document
        self._schemas = document["components"]["schemas"]
        self._operations = {
            (method, path): operation
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
        }
        self._bodies = [body for o in self._operations.values() if (body := body_of(o))]
        self._users = self._find_users()

    def _find_users(self) -> dict[str, set[str]]:
        """The endpoints that each object is part of, by its name."""
        users: dict[str, set[str]] = {}
        for operation in self._operations.values():
            for name in self._reached(operation):
                users.setdefault(name, set()).add(operation["operationId"].partition("_at_")[0])
        return users

    def _reached(self, operation: Json) -> list[str]:
        """Every object in a body or an answer, in order, but the body itself."""
        body = body_of(operation)
        waiting = [*refs(self._schema(body["schema"]) if body else {})]
        waiting += refs(operation["responses"]["200"])
        found: dict[str, None] = {}
        while waiting:
            name = waiting.pop(0)
            if name not in found:
                found[name] = None
                waiting += refs(self._schemas[name])
        return list(found)

    def lines(self) -> Iterator[str]:
        """Line by line."""
        yield "# HTTP"
        yield from ("", self._document["info"]["description"], "")
        yield "`docs/http_page.py` makes this page of what a server answers at `/openapi.json`. A"
        yield "test sends its examples to a real server."
        yield from ("", *self._overview())
        for (method, path), operation in self._operations.items():
            if "x-alias-of" not in operation:
                yield from ("", *self._endpoint(method, path, operation))
        yield from ("", "## Shared fields", *self._shared(), *self._refused())
        yield from ("", "## Objects", *self._objects())
        for tag in self._document["tags"]:
            yield from ("", f"## {tag['name']}", "", tag["description"])

    def _overview(self) -> Iterator[str]:
        yield from ("## Endpoints", "", "| endpoint | also | |", "|---|---|---|")
        for (method, path), operation in self._operations.items():
            if "x-alias-of" not in operation:
                also = ", ".join(f"`{alias}`" for alias in self._aliases(path))
                summary = operation["summary"].rstrip(".")
                yield f"| `{method.upper()} {path}` | {also} | {summary} |"

    def _aliases(self, path: str) -> list[str]:
        return [other for (_, other), o in self._operations.items() if o.get("x-alias-of") == path]

    def _endpoint(self, method: str, path: str, operation: Json) -> Iterator[str]:
        yield from (f"## {method.upper()} {path}", "", operation["summary"])
        if "description" in operation:
            yield from ("", operation["description"])
        yield from self._parameters(operation)
        yield from self._body(operation)
        yield from ("", "```sh", curl(path, operation), "```")
        yield from self._answer(operation)
        yield from self._own_objects(operation)

    def _parameters(self, operation: Json) -> Iterator[str]:
        rows = [
            row(f"`{p['name']}` ({p['in']})", self._type(p["schema"]), text(p["schema"]))
            for p in operation.get("parameters", ())
        ]
        if rows:
            yield from ("", "| parameter | type | meaning |", "|---|---|---|", *rows)

    # ------------------------------------------------------------ bodies

    def _body(self, operation: Json) -> Iterator[str]:
        body = body_of(operation)
        if not body:
            return
        fields = self._properties(body["schema"])
        yield from self._field_table(self._schema(body["schema"]), "")
        sections = {schema["x-section"] for schema in fields.values() if "x-section" in schema}
        links = [f"[{name}](#{anchor(name)})" for name in SECTIONS if name in sections]
        if links:
            yield from ("", f"And the fields of {' and '.join(links)}.")

    def _shared(self) -> Iterator[str]:
        for section, where in SECTIONS.items():
            yield from ("", f"### {section}", "", where)
            yield from self._field_table(self._with_section(section), section)

    def _with_section(self, section: str) -> Json:
        """The first body that has fields of this section."""
        for body in self._bodies:
            fields = self._properties(body["schema"])
            if any(schema.get("x-section") == section for schema in fields.values()):
                return self._schema(body["schema"])
        raise KeyError(section)

    def _field_table(self, schema: Json, section: str) -> Iterator[str]:
        fields = schema["properties"]
        rows = [
            row(
                names(name, fields),
                self._type(field),
                "required" if name in schema.get("required", ()) else default(field),
                text(field),
            )
            for name, field in fields.items()
            if field.get("x-section", "") == section and "x-alias-of" not in field
        ]
        if rows:
            yield from ("", "| field | type | default | meaning |", "|---|---|---|---|", *rows)

    def _refused(self) -> Iterator[str]:
        passes: dict[str, Json] = {}
        for body in self._bodies:
            for name, field in self._properties(body["schema"]).items():
                if field.get("x-section") == REFUSED:
                    passes[name] = field
        yield from ("", f"### {REFUSED}", "")
        yield "Fields of llama-server and OpenAI that are not there yet. A value that asks for"
        yield "nothing passes, any other is an error; ignoring it would change the answer in"
        yield from ("silence.", "", "| not yet | passes |", "|---|---|")
        for name, field in sorted(passes.items()):
            yield row(f"`{name}`", self._type(field))

    # ------------------------------------------------------------ answers

    def _answer(self, operation: Json) -> Iterator[str]:
        content = operation["responses"]["200"]["content"]
        for kind, media in content.items():
            if kind == "text/event-stream":
                data = media["schema"]["properties"]["data"]
                yield from ("", f"Stream: events of {self._type(data['contentSchema'])}.")
            elif kind != "application/json":
                yield from ("", f"Answer: `{kind}`.", "", "```", media["example"].rstrip(), "```")
            else:
                yield from ("", f"Answer: {self._type(media['schema'])}.")
                if "example" in media:
                    yield from ("", "```json", json.dumps(media["example"], indent=1), "```")

    def _own_objects(self, operation: Json) -> Iterator[str]:
        """Objects that no other endpoint has."""
        for name in self._reached(operation):
            if len(self._users[name]) == 1:
                yield from ("", f"#### {name}", *self._object(self._schemas[name]))

    def _objects(self) -> Iterator[str]:
        """Objects that several endpoints have."""
        for name, users in self._users.items():
            if len(users) > 1:
                yield from ("", f"### {name}", *self._object(self._schemas[name]))

    def _object(self, schema: Json) -> Iterator[str]:
        fields, required = schema.get("properties", {}), schema.get("required", ())
        if "description" in schema:
            yield from ("", text(schema))
        if not any("description" in field for field in fields.values()):
            if fields:
                shown = (f"`{name}` ({self._type(field)})" for name, field in fields.items())
                yield from ("", f"Fields: {', '.join(shown)}.")
            return
        yield from ("", "| field | type | meaning |", "|---|---|---|")
        for name, field in fields.items():
            sometimes = "" if name in required else " (not always)"
            kind = self._type(field) + (" or null" if NULL in field.get("anyOf", ()) else "")
            yield row(f"`{name}`{sometimes}", kind, text(field))

    # ------------------------------------------------------------ schemas

    def _schema(self, schema: Json) -> Json:
        """An object's; of a list, that of its rows."""
        found: Json = self._schemas[ref(schema.get("items", schema))]
        return found

    def _properties(self, schema: Json) -> Json:
        found: Json = self._schema(schema)["properties"]
        return found

    def _type(self, schema: Json) -> str:
        """A schema in words; null goes without saying where there is a default."""
        if "x-type" in schema:
            return str(schema["x-type"])
        if "$ref" in schema:
            return f"[{ref(schema)}](#{anchor(ref(schema))})"
        for several in ("anyOf", "oneOf"):
            if several in schema:
                return either(self._type(part) for part in schema[several])
        if "const" in schema or "enum" in schema:
            values = schema.get("enum", [schema.get("const")])
            return either(f"`{json.dumps(value)}`" for value in values if value is not None)
        kinds = schema.get("type", "any")
        kinds = [kinds] if isinstance(kinds, str) else kinds
        return either(self._simple(kind, schema) for kind in kinds if kind != "null")

    def _simple(self, kind: str, schema: Json) -> str:
        if kind == "array" and "items" in schema:
            return f"list of {self._type(schema['items'])}"
        if kind == "array" and "prefixItems" in schema:
            return f"[{', '.join(self._type(part) for part in schema['prefixItems'])}]"
        if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
            return f"object of {self._type(schema['additionalProperties'])}"
        if kind == "object" and "required" in schema:
            return f"object with {', '.join(f'`{name}`' for name in schema['required'])}"
        return NAMES.get(kind, kind) + limits(schema)


def either(words: Iterable[str]) -> str:
    """Alternatives, each once."""
    return " or ".join(dict.fromkeys(word for word in words if word not in ("null", "")))


def limits(schema: Json) -> str:
    """A number's range."""
    found = schema.get("x-clamped", schema)
    low, high = found.get("minimum"), found.get("maximum")
    high = None if high == 2**31 - 1 else high
    if low is None and high is None:
        return ""
    shown = f"{low} up" if high is None else f"{low} to {high}"
    return f", {shown}" + (", clamped" if "x-clamped" in schema else "")


def names(name: str, fields: Json) -> str:
    """A field's names, its first one first."""
    others = [other for other, schema in fields.items() if schema.get("x-alias-of") == name]
    return ", ".join(f"`{one}`" for one in (name, *others))


def default(schema: Json) -> str:
    """A field's default as JSON; a reference's is an object of defaults."""
    value = schema.get("default")
    if value is None or (isinstance(value, dict) and value):
        return ""
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def body_of(operation: Json) -> Json:
    """The content of a body; empty where there is none."""
    found: Json = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    return found


def curl(path: str, operation: Json) -> str:
    """The example as a command."""
    command = f"curl {URL}{operation.get('x-example-path', path)}"
    body = body_of(operation)
    return f"{command} -d {shlex.quote(json.dumps(body['example']))}" if body else command


def text(schema: Json) -> str:
    """A description on one line."""
    return " ".join(schema.get("description", "").split())


def row(*cells: str) -> str:
    """A line of a table; a bar would end a cell."""
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def refs(schema: Any) -> Iterator[str]:
    """The names of the schemas that are referred to, at any depth, in order."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield ref(schema)
        for inner in schema.values():
            yield from refs(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from refs(inner)


def ref(schema: Json) -> str:
    """The name of the schema that is referred to."""
    return str(schema["$ref"].rpartition("/")[2])


def anchor(title: str) -> str:
    """A heading's anchor."""
    return title.lower().replace(" ", "-")


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
