"""Request bodies: read with a limit, parsed strictly."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import Request

from .errors import ApiError, shown, wrong
from .requests.base import RequestBody
from .state import serving

Body = TypeVar("Body", bound=RequestBody)


MAX_DEPTH = 200
TOO_DEEP = f"the body is nested more than {MAX_DEPTH} levels deep"
HUGE = re.compile(rb"\d[eE]\+?\d{3}|\d{300}")


async def read_body(request: Request, model: type[Body]) -> Body:
    """The request's body, checked. Raises `ApiError`."""
    return model.read(await read_object(request), serving(request))


async def read_list(request: Request, model: type[Body]) -> list[Body]:
    """The request's body, a list of checked objects. Raises `ApiError`."""
    server = serving(request)
    body = loads(await _read(request, server.settings.max_body_bytes))
    if not isinstance(body, list):
        raise ApiError("Request body must be an array")
    for i, row in enumerate(body):
        if not isinstance(row, dict):
            raise wrong(f"[{i}]", "an object", row)
    return [model.read(row, server) for row in body]


async def read_object(request: Request) -> dict[str, Any]:
    """The request's body, a JSON object no longer than the app's limit.

    Raises `ApiError`: 413 for a longer body, 400 for anything but a JSON object.
    """
    body = loads(await _read(request, serving(request).settings.max_body_bytes))
    if not isinstance(body, dict):
        raise ApiError(f"the body must be a JSON object, got {shown(body)}")
    return body


async def _read(request: Request, limit: int) -> bytes:
    if int(request.headers.get("content-length", 0)) > limit:
        raise too_large(limit)
    chunks: list[bytes] = []
    n = 0
    async for chunk in request.stream():
        n += len(chunk)
        if n > limit:
            raise too_large(limit)
        chunks.append(chunk)
    return b"".join(chunks)


def too_large(limit: int) -> ApiError:
    """What a client is told whose body is not read to its end: the connection closes."""
    error = ApiError(f"the body is larger than {limit} bytes; send a shorter one", status=413)
    error.headers = {"Connection": "close"}
    return error


def loads(data: bytes) -> Any:
    """Parse JSON: no NaN, no Infinity, no half of a surrogate pair, no more than `MAX_DEPTH`
    levels. Raises `ApiError`."""
    try:
        value = json.loads(
            data.decode(), parse_constant=_refuse_constant, parse_float=_reader(data)
        )
        if b"\\ud" in data or b"\\uD" in data:
            json.dumps(value, ensure_ascii=False).encode()
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise ApiError(f"the body is not UTF-8 text: {error.reason}") from error
    except RecursionError as error:
        raise ApiError(TOO_DEEP) from error
    except ValueError as error:
        raise ApiError(f"the body is not JSON: {error}") from error
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH and _is_deep(value):
        raise ApiError(TOO_DEEP)
    return value


def _is_deep(value: Any) -> bool:
    """Deeper than what the code behind can walk through."""
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(MAX_DEPTH + 1):
        children = (one.values() if isinstance(one, dict) else one for one in level)
        level = [x for child in children for x in child if isinstance(x, (dict, list))]
        if not level:
            return False
    return True


def _reader(data: bytes) -> Callable[[str], float] | None:
    """Python reads 1e999 as infinity: such numbers are looked at one by one."""
    return _finite if HUGE.search(data) else None


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{shown(text)} is beyond the largest number")
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")
