"""`GET /slots`, and `POST /slots/{id}`: save, restore or erase what a slot holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter, Request, Response

from ..body import read_body
from ..endpoint import describes
from ..errors import ApiError
from ..filenames import check_filename
from ..requests.base import RequestBody
from ..requests.slots import SlotFileBody
from ..requests.types import Natural
from ..responses.slots import SLOTS, Slot, SlotErased, SlotRestored, SlotSaved
from ..shapes import settings_json
from ..state import Serving, serving
from ..wire import json_response

router = APIRouter()


class SlotsQuery(RequestBody):
    """Parameters of `/slots`."""

    fail_on_no_slot: str = ""
    """Not empty: answer 503 while all slots work."""


@router.get("/slots")
@describes(answer=list[Slot], query=SlotsQuery, example_answer=SLOTS, errors=(501,))
async def slots(request: Request) -> Response:
    """What each slot does.

    With `--no-slots` it does not answer.
    """
    server = serving(request)
    if not server.settings.slots_endpoint:
        raise not_started_with("slots endpoint", "--slots")
    report = await server.client.query("slots")
    if request.query_params.get("fail_on_no_slot") and not _any_idle(report):
        raise ApiError("no slot available", status=503)
    return json_response([slot_json(row, server) for row in report])


def _any_idle(report: Any) -> bool:
    return any(not slot.get("is_processing") for slot in report)


def slot_json(row: dict[str, Any], server: Serving) -> dict[str, Any]:
    """The engine's facts of a slot, with what the HTTP side knows of its request."""
    shape = dict(row)
    n_remain, n_decoded = shape.pop("n_remain", -1), shape.pop("n_decoded", 0)
    entry = server.ledger.find(row["id_task"]) if "id_task" in row else None
    if entry is None:
        return shape
    shows_texts = server.settings.show_prompts
    shape["params"] = settings_json(entry.wanted, brief=not shows_texts)
    shape["next_token"] = [
        {
            "has_next_token": entry.has_next_token,
            "has_new_line": entry.has_new_line,
            "n_remain": n_remain,
            "n_decoded": n_decoded,
        }
    ]
    if shows_texts:
        shape["prompt"] = server.all_pieces.join(entry.prompt).decode("utf-8", "replace")
        shape["generated"] = entry.text
    return shape


def not_started_with(what: str, flag: str) -> ApiError:
    """Something that the operator has to allow."""
    message = f"This server does not support {what}. Start it with `{flag}`"
    return ApiError(message, status=501)


class SlotPath(RequestBody):
    """Parameters in the path of `/slots/{id_slot}`."""

    id_slot: Natural
    """A slot; numbers beyond the last one begin again at 0."""


class SlotQuery(RequestBody):
    """Parameters of `/slots/{id_slot}`."""

    action: Literal["save", "restore", "erase"]
    """What to do."""


@router.post("/slots/{id_slot}")
@describes(
    answer=SlotSaved | SlotRestored | SlotErased,
    body=SlotFileBody,
    path=SlotPath,
    query=SlotQuery,
    example={"filename": "conversation.bin"},
    example_path="/slots/0?action=save",
    errors=(501,),
)
async def slot_action(request: Request, id_slot: str) -> Response:
    """Save, restore or erase what a slot holds, once it is idle (with `--slot-save-path`).

    Saved is what the slot computed last, as far as it is still there. Restored, it is a kept prefix
    again, given up after all others until the slot has its next request: a prompt that begins with
    it needs no prefill for it, on whatever slot it runs. A file fits one model file, engine and
    cache layout, and is refused if it is damaged. Erased are the states that the slot's last
    request left, unless another one has gone on from them.
    """
    server = serving(request)
    if not server.settings.slot_save_path:
        raise not_started_with("slots action", "--slot-save-path")
    if not (id_slot.isascii() and id_slot.isdigit() and len(id_slot) < 10):
        raise ApiError("Invalid slot ID")
    action = request.query_params.get("action")
    if action == "save":
        path = await _path(request, server)
        report = await server.client.query("slot_save", int(id_slot), str(path))
    elif action == "restore":
        path = await _path(request, server)
        report = await server.client.query("slot_restore", int(id_slot), str(path))
    elif action == "erase":
        report = await server.client.query("slot_erase", int(id_slot))
    else:
        raise ApiError("Invalid action")
    if "error" in report:
        raise ApiError(report["error"], status=report["status"])
    return json_response(report)


async def _path(request: Request, server: Serving) -> Path:
    """The file that a client names: always directly in the operator's folder."""
    body = await read_body(request, SlotFileBody)
    check_filename(body.filename)
    return Path(server.settings.slot_save_path).expanduser().absolute() / body.filename
