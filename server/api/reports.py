"""`GET /slots` and `/memory`: the engine's own reports."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from ..errors import ApiError
from ..state import serving
from ..wire import json_response

router = APIRouter()


@router.get("/slots")
async def slots(request: Request) -> Response:
    """Every slot; 503 with `?fail_on_no_slot=1` while all of them work."""
    report = await serving(request).client.query("slots")
    if request.query_params.get("fail_on_no_slot") and not _any_idle(report):
        raise ApiError("no slot available", status=503)
    return json_response(report)


def _any_idle(report: Any) -> bool:
    return any(not slot.get("is_processing") for slot in report)


@router.get("/memory")
async def memory(request: Request) -> Response:
    """Bytes by device and by client as the engine counts them, with each client's address."""
    client = serving(request).client
    report = await client.query("memory")
    for row in report["clients"]:
        row["client"] = client.owner(row["id"])
    return json_response(report)
