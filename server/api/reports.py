"""`GET /memory`: the engine's own report."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from ..state import serving
from ..wire import json_response

router = APIRouter()


@router.get("/memory")
async def memory(request: Request) -> Response:
    """Bytes by device and by client as the engine counts them, with each client's address."""
    client = serving(request).client
    report = await client.query("memory")
    for row in report["clients"]:
        row["client"] = client.owner(row["id"])
    return json_response(report)
