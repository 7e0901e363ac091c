"""What every request meets before its endpoint: its id, browsers' rules, keys, and the log.

Source of the order and of the headers: `server_http_context::init` in llama.cpp's
`tools/server/server-http.cpp`. A preflight needs no key, because browsers send none with it.
"""

from __future__ import annotations

import re
import secrets
import time
from typing import Any
from urllib.parse import urlsplit

from fastapi import Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .auth import ApiKeys
from .errors import ApiError, error_response
from .http_settings import HttpSettings
from .logs import TRACE, requests
from .page.routes import page_paths

ID = "X-Request-Id"
SANE_ID = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
QUIET = frozenset({"/health", "/v1/health", "/models", "/v1/models", "/props", "/metrics"})
"""Asked again and again by whoever watches a server; llama-server does not log them either."""


class Edge:
    """Middleware around the whole application."""

    def __init__(self, app: ASGIApp, settings: HttpSettings, keys: tuple[str, ...]) -> None:
        self._app = app
        self._settings = settings
        page = page_paths() if settings.shows_page else ()
        self._keys = ApiKeys(keys, settings.api_prefix, page)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        path = scope["path"].removeprefix(self._settings.api_prefix)
        visit = Visit(scope, path, request_id(headers), self._cors(headers), send)
        scope["request_id"] = visit.id
        try:
            await self._answer(scope, headers, receive, visit.send)
        finally:
            visit.log()

    async def _answer(self, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        if scope["method"] == "OPTIONS":
            await self._preflight()(scope, receive, send)
        elif not self._keys.allow(scope["path"], headers):
            await error_response(ApiError("Invalid API Key", status=401))(scope, receive, send)
        elif scope["method"] == "HEAD":
            # as GET; the connection knows that it is to send no body
            await self._app({**scope, "method": "GET", "is_head": True}, receive, send)
        else:
            await self._app(scope, receive, send)

    def _preflight(self) -> Response:
        settings = self._settings
        return Response(
            headers={
                "Access-Control-Allow-Credentials": "true"
                if settings.cors_credentials
                else "false",
                "Access-Control-Allow-Methods": settings.cors_methods,
                "Access-Control-Allow-Headers": settings.cors_headers,
            },
            media_type="text/html",
        )

    def _cors(self, headers: Headers) -> dict[str, str]:
        origin = headers.get("origin", "")
        allowed = self._settings.cors_origins
        if allowed == "*" and self._settings.cors_credentials:
            allowed = origin  # credentials are never sent to a star
        elif allowed == "localhost":
            allowed = origin if is_local_origin(origin) else ""
        elif "," in allowed:
            # the header holds one origin
            allowed = origin if origin in map(str.strip, allowed.split(",")) else ""
        if not allowed:
            return {}
        named = {"Access-Control-Allow-Origin": allowed}
        return named if allowed != origin else {**named, "Vary": "Origin"}


class Visit:
    """One request from its head to the end of its answer."""

    def __init__(self, scope: Scope, path: str, id: str, cors: dict[str, str], send: Send) -> None:
        self.id = id
        self._path = path
        self._scope = scope
        self._cors = cors
        self._send = send
        self._begun_s = time.perf_counter()
        self._status = 0

    async def send(self, message: Message) -> None:
        """To the client, with the headers that every answer has."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = MutableHeaders(scope=message)
            headers[ID] = self.id
            headers.update(self._cors)
        await self._send(message)

    def log(self) -> None:
        """One line: who, what, how it ended, how long it took, and the id."""
        if not requests.isEnabledFor(TRACE) or self._path in QUIET:
            return
        row = self._row()
        requests.log(
            TRACE, "%(client)s %(method)s %(path)s %(status)d %(seconds).3f s %(request_id)s", row,
            extra={"fields": row},
        )  # fmt: skip

    def _row(self) -> dict[str, Any]:
        client = self._scope["client"]
        raw = self._scope.get("raw_path") or self._scope["path"].encode()
        return {
            "client": f"{client[0]}:{client[1]}" if client else "-",
            "method": self._scope["method"],
            "path": raw.decode("ascii", "backslashreplace"),
            "status": self._status or 499,
            "seconds": round(time.perf_counter() - self._begun_s, 3),
            "request_id": self.id,
        }


def request_id(headers: Headers) -> str:
    """The client's own, if it is short and plain; a new one otherwise."""
    given = headers.get(ID, "")
    return given if SANE_ID.fullmatch(given) else secrets.token_hex(12)


def is_local_origin(origin: str) -> bool:
    """A page of this machine, whatever its port."""
    try:
        return urlsplit(origin).hostname in LOCAL_NAMES
    except ValueError:
        return False
