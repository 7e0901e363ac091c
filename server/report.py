"""The reports behind `/memory` and `/slots`, JSON-ready."""

from __future__ import annotations

from typing import Any

from ..context import Context
from ..device import devices
from ..memory import KINDS, MemoryReport, SequenceMemory
from .scheduler import Running, Scheduler


def memory_report(context: Context, scheduler: Scheduler) -> dict[str, Any]:
    """Bytes per device and kind, bytes per client, and the allocator's record beside their sum."""
    report = context.memory()
    by_slot = {running.slot: running for running in scheduler.running.values()}
    clients = [
        client_row(by_slot.get(sequence.seq_id), sequence, context, scheduler)
        for sequence in report.sequences
        if sequence.seq_id in by_slot or sequence.n_cells or sequence.recurrent_bytes
    ]
    return {
        "devices": device_rows(report),
        "clients": clients,
        "kv": {
            "n_cells": context.n_ctx,
            "n_cells_reserved": sum(scheduler.cells.reserved.values()),
            "cell_bytes": context.kv_cell_bytes,
            "unified": context.kv_unified,
        },
        "recurrent_seq_bytes": context.recurrent_seq_bytes,
        "total_bytes": report.total_bytes,
        "allocated_bytes": report.allocated_bytes,
        "allocated": dict(report.allocated),
    }


def device_rows(report: MemoryReport) -> list[dict[str, Any]]:
    """One row per device: total, free, and what this context holds there by kind."""
    rows = []
    for device in devices():
        held = report.device_bytes(device.name)
        total, free = device.memory_total, device.memory_free
        rows.append(
            {
                "name": device.name,
                "description": device.description,
                "type": device.type,
                "total_bytes": total,
                "free_bytes": free,
                **{f"{kind}_bytes": held[kind] for kind in KINDS},
                "other_bytes": max(0, total - free - sum(held.values())),
            }
        )
    return rows


def client_row(
    running: Running | None, sequence: SequenceMemory, context: Context, scheduler: Scheduler
) -> dict[str, Any]:
    """What one client holds; `id` is null for a sequence that no request runs on."""
    return {
        "id": running.id if running else None,
        "slot": sequence.seq_id,
        "n_cells": sequence.n_cells,
        "n_cells_shared": sequence.n_cells_shared,
        "n_cells_reserved": scheduler.cells.reserved.get(running.id, 0) if running else 0,
        "kv_bytes": sequence.kv_bytes,
        "recurrent_bytes": sequence.recurrent_bytes,
        "total_bytes": sequence.kv_bytes + sequence.recurrent_bytes,
    }


def slots_report(context: Context, scheduler: Scheduler) -> list[dict[str, Any]]:
    """One row per slot, in llama-server's field names."""
    by_slot = {running.slot: running for running in scheduler.running.values()}
    return [slot_row(slot, by_slot.get(slot), context) for slot in range(scheduler.limits.n_slots)]


def slot_row(slot: int, running: Running | None, context: Context) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": slot,
        "n_ctx": context.n_ctx_seq,
        "speculative": False,
        "is_processing": running is not None,
    }
    if running is not None:
        max_tokens = running.request.max_tokens
        row |= {
            "id_task": running.id,
            "n_prompt_tokens": running.n_prompt,
            "n_prompt_tokens_processed": running.n_computed,
            "n_decoded": running.n_generated,
            "n_remain": max_tokens - running.n_generated if max_tokens >= 0 else -1,
        }
    return row
