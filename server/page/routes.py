"""The routes of the page. It needs no key, as llama-server's: what it shows is asked for with one.

The files call nobody but the server that they came from, and the browser holds them to it.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
INDEX = "index.html"
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",  # asked for again each time, and answered with 304
}


class StaticFile:
    """One file, and the tag of its content."""

    def __init__(self, name: str, content: bytes) -> None:
        self.media_type = TYPES[Path(name).suffix]
        self._content = content
        self._headers = {**HEADERS, "ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"'}

    async def answer(self, request: Request) -> Response:
        """The content, or that it is what the browser has."""
        if request.headers.get("if-none-match") == self._headers["ETag"]:
            return Response(status_code=304, headers=self._headers)
        return Response(self._content, headers=self._headers, media_type=self.media_type)


@cache
def page_files() -> dict[str, StaticFile]:
    """The files by their names, without anything that is not of the page."""
    return {
        file.name: StaticFile(file.name, file.read_bytes())
        for file in sorted(Path(__file__).parent.iterdir())
        if file.suffix in TYPES
    }


def page_paths() -> frozenset[str]:
    """Where they are."""
    return frozenset({"/", *(f"/{name}" for name in page_files())})


def page_routes(prefix: str) -> list[Route]:
    """All of them; the prefix without its slash leads to the page, so that its links are right."""
    found = [Route(f"{prefix}/{name}", file.answer) for name, file in page_files().items()]
    found.append(Route(f"{prefix}/", page_files()[INDEX].answer))
    if prefix:
        found.append(Route(prefix, to_page))
    return found


async def to_page(request: Request) -> Response:
    """From the prefix to the folder of that name."""
    return RedirectResponse(f"{request.url.path}/")
