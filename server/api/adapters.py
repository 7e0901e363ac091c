"""`GET` and `POST /lora-adapters`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from ..body import read_list
from ..endpoint import describes
from ..requests.adapters import AdapterScale, scales_of
from ..responses.adapters import LoadedAdapter, Success
from ..state import serving
from ..wire import json_response

router = APIRouter()


@router.get("/lora-adapters")
@describes(
    answer=list[LoadedAdapter],
    example_answer=[
        {
            "id": 0,
            "path": "sql.gguf",
            "scale": 1.0,
            "task_name": "",
            "prompt_prefix": "",
        }
    ],
)
async def lora_adapters(request: Request) -> Response:
    """The LoRA adapters that were loaded, with the scales that hold for requests without `lora`."""
    return json_response(serving(request).adapters.rows())


@router.post("/lora-adapters")
@describes(
    answer=Success,
    body=list[AdapterScale],
    example=[{"id": 0, "scale": 0.5}],
    example_answer={"success": True},
    needs="--lora",
)
async def set_lora_adapters(request: Request) -> Response:
    """Other scales for the requests to come.

    Adapters that are not named get 0. What runs goes on with what it started with, and so does a
    request that brings its own `lora`. A change of adapters between two steps takes time, and
    requests with different ones share neither steps nor prefixes.
    """
    rows = await read_list(request, AdapterScale)
    serving(request).adapters.set(scales_of(rows))
    return json_response({"success": True})
