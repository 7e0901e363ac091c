"""`GET /memory` and `/memory/stream`: the engine's own report."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from ...errors import ServerError
from ..endpoint import describes
from ..errors import as_api_error
from ..requests.base import RequestBody
from ..requests.types import Natural, whole
from ..responses.reports import MEMORY, Memory
from ..state import Serving, serving
from ..wire import event, json_response

router = APIRouter()

NUMBER = re.compile(r"-?\d{1,18}", re.ASCII)
END_S = 0.5


@router.get("/memory")
@describes(answer=Memory, example_answer=MEMORY)
async def memory(request: Request) -> Response:
    """Bytes by device and by client (pannier's own).

    As the engine counts them between two steps; the words are explained in
    [memory.md](memory.md). The example is a tiny Qwen3Next on the CPU engine, `-c 4096 -np 4`, with
    one client at work.
    """
    return json_response(await memory_report(serving(request)))


async def memory_report(server: Serving) -> dict[str, Any]:
    """The engine's report. Who the clients are is told where `/slots` is."""
    report: dict[str, Any] = await server.client.query("memory")
    for row in report["clients"]:
        owner = server.client.owner(row["id"])
        row["client"] = owner if server.settings.slots_endpoint else None
    return report


class StreamQuery(RequestBody):
    """Parameters of `/memory/stream`."""

    interval: Annotated[int, whole(100, 60000)] = 1000
    """Milliseconds between two reports."""
    n: Natural = 0
    """End after so many; 0: when the client leaves."""


@router.get("/memory/stream")
@describes(
    answer=None, event=Memory, query=StreamQuery, example_path="/memory/stream?n=1", errors=(400,)
)
async def memory_stream(request: Request) -> Response:
    """The same again and again, as server-sent events (pannier's own).

    Always a stream. The engine is asked as often as `interval` says for each client that listens,
    and not at all where nobody does.
    """
    server = serving(request)
    query = StreamQuery.read(numbers(request.query_params), server)
    if request.scope.get("is_head"):
        return Response(media_type="text/event-stream")
    first = await memory_report(server)
    headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
    return StreamingResponse(_reports(server, first, query), headers=headers)


def numbers(params: Mapping[str, str]) -> dict[str, Any]:
    """Parameters as a body would have them: digits are a number."""
    return {key: int(text) if NUMBER.fullmatch(text) else text for key, text in params.items()}


async def _reports(server: Serving, first: Any, query: StreamQuery) -> AsyncIterator[bytes]:
    yield event(first)
    n = 1
    try:
        while n != query.n:
            await _pause(server, query.interval / 1000)
            yield event(await memory_report(server))
            n += 1
    except ServerError as error:
        yield event({"error": as_api_error(error).body()})


async def _pause(server: Serving, seconds: float) -> None:
    """Raises `ServerError` soon after the server was told to end."""
    while seconds > 0:
        await asyncio.sleep(min(seconds, END_S))
        seconds -= END_S
        server.client.check_accepting()
