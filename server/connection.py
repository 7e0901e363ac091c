"""One client's connection: uvicorn's, with limits on what a client may send and how slowly."""

from __future__ import annotations

import asyncio
from asyncio import TimerHandle
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .errors import ApiError
from .http_settings import HttpSettings
from .wire import dumps

MAX_HEAD_BYTES = 64 << 10
MAX_HEADERS = 128
MAX_URL_BYTES = 8 << 10
PHRASES = {
    400: "Bad Request",
    408: "Request Timeout",
    414: "URI Too Long",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}


class TooLarge(Exception):
    """A head that is not read to its end."""


class Connection(HttpToolsProtocol):
    """Reads requests within limits; a client that breaks one gets an error and is cut off.

    Slow clients: the head has to come within a time of its own, and neither reading a body nor
    writing an answer may stand still for longer than `timeout_s`.
    """

    settings = HttpSettings()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timer: TimerHandle | None = None
        self._write_timer: TimerHandle | None = None
        self._in_head = False
        self._n_head_bytes = 0
        self._refusal = ApiError("this is not an HTTP/1 request")

    # ------------------------------------------------------------ the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came."""
        super().connection_made(cast(asyncio.Transport, transport))
        most = self.settings.max_connections
        if most and len(self.connections) > most:
            self._cut(ApiError(f"{most} connections are open: try again later", status=503))
        else:
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._stop_timer()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some bytes of requests."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        idle = self.cycle is None or self.cycle.response_complete
        if idle and self._timer is None and not self.transport.is_closing():
            self._expect_head()

    def pause_writing(self) -> None:
        """The client reads too slowly."""
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(self.settings.timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        """It has read."""
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Whatever the parser did not take."""
        self._cut(self._refusal)

    # ------------------------------------------------------------ the parser

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_head = True
        self._n_head_bytes = 0

    def on_url(self, url: bytes) -> None:
        """A part of its target."""
        super().on_url(url)
        if len(self.url) > MAX_URL_BYTES:
            self._refuse(f"the URL is longer than {MAX_URL_BYTES} bytes", 414)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        super().on_header(name, value)
        self._n_head_bytes += len(name) + len(value)
        if self._n_head_bytes > MAX_HEAD_BYTES:
            self._refuse(f"the headers are longer than {MAX_HEAD_BYTES} bytes", 431)
        if len(self.headers) > MAX_HEADERS:
            self._refuse(f"there are more than {MAX_HEADERS} headers", 431)

    def on_headers_complete(self) -> None:
        """The head is whole; a body may follow."""
        super().on_headers_complete()
        self._in_head = False
        self._set_timer(self.settings.timeout_s, self._body_is_late)

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        super().on_body(body)
        self._set_timer(self.settings.timeout_s, self._body_is_late)

    def on_message_complete(self) -> None:
        """The request is whole."""
        super().on_message_complete()
        self._stop_timer()

    def on_response_complete(self) -> None:
        """An answer is written; the next request may have begun to come meanwhile."""
        super().on_response_complete()
        if self._in_head and not self.transport.is_closing():
            self._expect_head()

    # ------------------------------------------------------------ limits

    def _refuse(self, why: str, status: int) -> None:
        self._refusal = ApiError(why, status=status)
        raise TooLarge  # the parser stops and data_received answers

    def _cut(self, error: ApiError) -> None:
        """Answer and close, whatever the client still sends."""
        self._stop_timer()
        body = dumps({"error": error.body()})
        head = (
            f"HTTP/1.1 {error.status} {PHRASES[error.status]}\r\n"
            "content-type: application/json; charset=utf-8\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        # bytes in the middle of another answer would be taken for a part of it
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(head.encode() + body)
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()

    def _expect_head(self) -> None:
        self._set_timer(
            self.settings.header_timeout_s or self.settings.timeout_s, self._head_is_late
        )

    def _head_is_late(self) -> None:
        if self._in_head:
            seconds = self.settings.header_timeout_s or self.settings.timeout_s
            self._cut(ApiError(f"the request's head took longer than {seconds:g} s", status=408))
        else:
            self.transport.close()

    def _body_is_late(self) -> None:
        seconds = self.settings.timeout_s
        self._cut(ApiError(f"nothing of the request came for {seconds} s", status=408))

    def _set_timer(self, seconds: float, late: Any) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, late)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def connection_of(settings: HttpSettings) -> type[Connection]:
    """The class whose connections keep these limits."""
    return type("LimitedConnection", (Connection,), {"settings": settings})
