"""Request bodies: read with a limit, parsed strictly."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from fastapi import Request

from .errors import ApiError, shown
from .requests.base import RequestBody
from .state import serving

Body = TypeVar("Body", bound=RequestBody)


async def read_body(request: Request, model: type[Body]) -> Body:
    """The request's body, checked. Raises `ApiError`."""
    return model.read(await read_object(request), serving(request))


async def read_object(request: Request) -> dict[str, Any]:
    """The request's body, a JSON object no longer than the app's limit.

    Raises `ApiError`: 413 for a longer body, 400 for anything but a JSON object.
    """
    body = loads(await _read(request, serving(request).settings.max_body_bytes))
    if not isinstance(body, dict):
        raise ApiError(f"the body must be a JSON object, got {shown(body)}")
    return body


async def _read(request: Request, limit: int) -> bytes:
    chunks: list[bytes] = []
    n = 0
    async for chunk in request.stream():
        n += len(chunk)
        if n > limit:
            raise ApiError(f"the body is larger than {limit} bytes; send a shorter one", status=413)
        chunks.append(chunk)
    return b"".join(chunks)


def loads(data: bytes) -> Any:
    """Parse JSON: no NaN, no Infinity, no half of a surrogate pair. Raises `ApiError`."""
    try:
        value = json.loads(data.decode(), parse_constant=_refuse_constant)
        if b"\\ud" in data or b"\\uD" in data:
            json.dumps(value, ensure_ascii=False).encode()
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise ApiError(f"the body is not UTF-8 text: {error.reason}") from error
    except RecursionError as error:
        raise ApiError("the body is nested too deeply") from error
    except ValueError as error:
        raise ApiError(f"the body is not JSON: {error}") from error
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")
