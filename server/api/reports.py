"""`GET /memory`: the engine's own report."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from ..endpoint import describes
from ..responses.reports import MEMORY, Memory
from ..state import serving
from ..wire import json_response

router = APIRouter()


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
