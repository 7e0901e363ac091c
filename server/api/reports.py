"""`GET /slots` and `/memory`: the engine's own reports."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from ..errors import ApiError
from ..state import Serving, serving
from ..wire import json_response

router = APIRouter()

SLOTS_OFF = "This server does not support slots endpoint. Start it with `--slots`"
"""llama-server's words."""


@router.get("/slots")
async def slots(request: Request) -> Response:
    """Every slot; 503 with `?fail_on_no_slot=1` while all of them work."""
    server = serving(request)
    if not server.settings.endpoint_slots:
        raise ApiError(SLOTS_OFF, status=501)
    report = await server.client.query("slots")
    if request.query_params.get("fail_on_no_slot") and not _any_idle(report):
        raise ApiError("no slot available", status=503)
    return json_response(report)


def _any_idle(report: Any) -> bool:
    return any(not slot.get("is_processing") for slot in report)


@router.get("/memory")
async def memory(request: Request) -> Response:
    """Bytes by device and by client as the engine counts them, with each client's address."""
    return json_response(await memory_report(serving(request)))


async def memory_report(server: Serving) -> dict[str, Any]:
    """The engine's report. Who the clients are is told where `/slots` is."""
    report: dict[str, Any] = await server.client.query("memory")
    for row in report["clients"]:
        owner = server.client.owner(row["id"])
        row["client"] = owner if server.settings.endpoint_slots else None
    return report
