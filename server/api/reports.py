"""`GET /slots` and `/memory`: the engine's own reports."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from ..endpoint import describes
from ..errors import ApiError
from ..requests.base import RequestBody
from ..responses.reports import MEMORY, SLOTS, Memory, Slot
from ..state import serving
from ..wire import json_response

router = APIRouter()


class SlotsQuery(RequestBody):
    """Parameters of `/slots`."""

    fail_on_no_slot: str = ""
    """Not empty: answer 503 while all slots work."""


@router.get("/slots")
@describes(answer=list[Slot], query=SlotsQuery, example_answer=SLOTS)
async def slots(request: Request) -> Response:
    """What each slot does."""
    report = await serving(request).client.query("slots")
    if request.query_params.get("fail_on_no_slot") and not _any_idle(report):
        raise ApiError("no slot available", status=503)
    return json_response(report)


def _any_idle(report: Any) -> bool:
    return any(not slot.get("is_processing") for slot in report)


@router.get("/memory")
@describes(answer=Memory, example_answer=MEMORY)
async def memory(request: Request) -> Response:
    """Bytes by device and by client (pannier's own).

    As the engine counts them between two steps; the words are explained in
    [memory.md](memory.md). The example is a tiny Qwen3Next on the CPU engine, `-c 4096 -np 4`, with
    one client at work.
    """
    client = serving(request).client
    report = await client.query("memory")
    for row in report["clients"]:
        row["client"] = client.owner(row["id"])
    return json_response(report)
