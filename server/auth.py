"""API keys: asked for on every endpoint but `/health`, and not for the page."""

from __future__ import annotations

import hmac
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.requests import Request

PUBLIC = ("/health", "/v1/health")


class ApiKeys:
    """Lets only requests with one of the keys through; all of them where there are no keys."""

    def __init__(self, keys: tuple[str, ...], prefix: str = "", page: Collection[str] = ()) -> None:
        self._keys = [key.encode() for key in keys]
        self._public = frozenset(prefix + path for path in (*PUBLIC, *page))
        if page:
            self._public |= {prefix}  # it leads to the page

    def allow(self, path: str, headers: Headers) -> bool:
        """Whether a request may go on."""
        return not self._keys or path in self._public or self._knows(headers)

    def _knows(self, headers: Headers) -> bool:
        key = _given(headers).encode("latin-1")  # as headers are read
        # every key is compared, so that the time taken tells nothing
        return sum([hmac.compare_digest(key, known) for known in self._keys]) > 0


def key_of(request: Request) -> str:
    """What tells one client's requests from another's; empty if it shows no key."""
    return _given(request.headers)


def _given(headers: Headers) -> str:
    given = headers.get("authorization") or headers.get("x-api-key") or ""
    return given.removeprefix("Bearer ")
