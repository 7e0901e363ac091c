"""JSON on the wire, compact and UTF-8, and server-sent events as llama-server writes them."""

from __future__ import annotations

import json
from typing import Any

import orjson
from fastapi import Response

JSON_TYPE = "application/json; charset=utf-8"
DONE = b"data: [DONE]\n\n"
PING = b":\n\n"


def dumps(value: Any) -> bytes:
    """Compact UTF-8 JSON."""
    try:
        return orjson.dumps(value)
    except TypeError:  # numbers of more than 64 bits, which clients and models can write
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def event(value: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + dumps(value) + b"\n\n"


def named_event(name: str, value: Any) -> bytes:
    """One server-sent event with a name."""
    return b"event: " + name.encode() + b"\n" + event(value)


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON response."""
    return Response(dumps(value), status, headers, JSON_TYPE)
