"""Errors as responses: llama-server's shape, types and statuses, made in this one place.

The shape is OpenAI's: `{"error": {"code": 400, "message": "...", "type": "..."}}`.
Source of the types: `format_error_response` in llama.cpp's
`tools/server/server-common.cpp`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ..errors import ArgumentError, ChatError, PannierError, RequestError, ServerError
from .wire import json_response

log = logging.getLogger("pannier.server")

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    500: "server_error",
    501: "not_supported_error",
    503: "unavailable_error",
}


class ApiError(RequestError):
    """An error with the HTTP status that tells it, and fields beside the message."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        type: str = "",
        retry_after_s: int = 0,
        **fields: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {"Retry-After": str(retry_after_s)} if retry_after_s else {}
        fallback = "invalid_request_error" if status < 500 else "server_error"
        self.type = type or TYPES.get(status, fallback)
        self.fields = fields

    def body(self) -> dict[str, Any]:
        """The object under `error`."""
        return {"code": self.status, "message": str(self), "type": self.type, **self.fields}


def exceeds_context(n_prompt: int, n_ctx: int) -> ApiError:
    """A prompt that leaves no room for even one token of output."""
    return ApiError(
        f"request ({n_prompt} tokens) exceeds the available context size ({n_ctx} tokens), "
        "try increasing it",
        type="exceed_context_size_error",
        n_prompt_tokens=n_prompt,
        n_ctx=n_ctx,
    )


def wrong(field: str, expected: str, value: Any) -> ApiError:
    """A value of the wrong type or out of range."""
    return ApiError(f"Field '{field}': expected {expected}, got {shown(value)}")


def not_supported(field: str, value: Any) -> ApiError:
    """A field of llama-server that would be ignored here, so it is refused."""
    return ApiError(f"Field '{field}': {shown(value)} is not supported yet; leave the field out")


def shown(value: Any) -> str:
    """A value for a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def as_api_error(error: Exception) -> ApiError:
    """The response that suits any error of ours; anything else is a mistake of ours: 500."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, ServerError):
        return ApiError(str(error), status=503)
    if isinstance(error, (RequestError, ChatError, ArgumentError)):
        return ApiError(str(error))
    if isinstance(error, HTTPException):
        return _of_starlette(error)
    if isinstance(error, PannierError):
        return ApiError(str(error), status=500)
    return ApiError("Internal error; the server's log has the details", status=500)


def _of_starlette(error: HTTPException) -> ApiError:
    message = "File Not Found" if error.status_code == 404 else str(error.detail)
    return ApiError(message, status=error.status_code)


def error_response(error: Exception) -> Response:
    """The whole response."""
    api_error = as_api_error(error)
    headers = dict(getattr(error, "headers", None) or api_error.headers)
    return json_response({"error": api_error.body()}, api_error.status, headers)


async def _handle(request: Request, error: Exception) -> Response:
    return error_response(error)


async def _handle_gone(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it: the client left while sending its body


async def _handle_mistake(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return error_response(error)


def install(app: FastAPI) -> None:
    """Make every error of the app a response of this shape."""
    handlers: dict[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
        PannierError: _handle,
        HTTPException: _handle,
        ClientDisconnect: _handle_gone,
        Exception: _handle_mistake,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)
