"""The reports behind `/memory` and `/slots`, JSON-ready."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..context import Context
from ..device import devices
from ..memory import KINDS, MemoryReport, SequenceMemory
from .activity import activity, progress
from .embedding_scheduler import Embedding, EmbeddingScheduler
from .running import Running
from .scheduler import Scheduler
from .slots import Slot

if TYPE_CHECKING:
    from .embedding_loop import EmbeddingLoop
    from .loop import EngineLoop


def memory_report(loop: EngineLoop) -> dict[str, Any]:
    """Bytes per device and kind, bytes per client, and the allocator's record beside their sum."""
    context, scheduler = loop.context, loop.scheduler
    report = context.memory()
    by_seq = {running.seq: running for running in scheduler.running.values()}
    clients = [
        client_row(by_seq.get(sequence.seq_id), sequence)
        for sequence in report.sequences
        if sequence.seq_id in by_seq or sequence.n_cells or sequence.recurrent_bytes
    ]
    return {
        "devices": device_rows(report),
        "clients": clients,
        "kv": {
            "n_cells": context.n_ctx,
            "n_cells_used": scheduler.tree.n_cells,
            "n_cells_reserved": scheduler.n_promised - n_kept_cells(scheduler),
            "cell_bytes": context.kv_cell_bytes,
            "unified": context.kv_unified,
        },
        "prefixes": prefixes(loop),
        "activity": activity(loop),
        "graphs": {"n_steps": loop.n_steps, "n_reused": context.graphs_reused},
        "n_sequences": context.n_parallel,
        "recurrent_seq_bytes": context.recurrent_seq_bytes,
        "total_bytes": report.total_bytes,
        "allocated_bytes": report.allocated_bytes,
        "allocated": dict(report.allocated),
    }


def request_memory(context: Context, running: Running) -> dict[str, int]:
    """What one request holds. It only grows until it ends, or starts over with less: then its peak
    is what it had been promised."""
    held = context.sequence(running.seq).memory()
    n_most = min(running.n_reserved, context.n_ctx_seq)
    now = held.kv_bytes + held.recurrent_bytes
    return {
        "n_cells": held.n_cells,
        "n_cells_shared": held.n_cells_shared,
        "n_cells_reserved": running.n_reserved,
        "kv_bytes": held.kv_bytes,
        "recurrent_bytes": held.recurrent_bytes,
        "now_bytes": now,
        "peak_bytes": max(now, n_most * context.kv_cell_bytes if running.shifted else 0),
        "reserved_bytes": max(now, n_most * context.kv_cell_bytes + held.recurrent_bytes),
    }


def n_kept_cells(scheduler: Scheduler) -> int:
    """Cells that are there for later requests only."""
    busy = [running.seq for running in scheduler.running.values()]
    return scheduler.tree.n_cells - scheduler.tree.n_held(busy)


def prefixes(loop: EngineLoop) -> dict[str, Any]:
    """What is kept of earlier requests, by place."""
    cache = loop.scheduler.cache
    kept = list(cache.kept.values())
    return {
        "n_on_device": len(cache.sequences),
        "n_in_host_memory": sum(one.stored == "host" for one in kept),
        "n_on_disk": sum(one.stored == "disk" for one in kept),
        "n_cells": n_kept_cells(loop.scheduler),
        "host_bytes": loop.memory.store.host_bytes,
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


def client_row(running: Running | None, sequence: SequenceMemory) -> dict[str, Any]:
    """What one client holds; `id` and `slot` are null for a prefix that no request runs on."""
    return {
        "id": running.id if running else None,
        "slot": running.slot if running else None,
        "seq": sequence.seq_id,
        **progress(running),
        "n_cells": sequence.n_cells,
        "n_cells_shared": sequence.n_cells_shared,
        "n_cells_reserved": running.n_reserved if running else 0,
        "kv_bytes": sequence.kv_bytes,
        "recurrent_bytes": sequence.recurrent_bytes,
        "total_bytes": sequence.kv_bytes + sequence.recurrent_bytes,
    }


def slots_report(context: Context, scheduler: Scheduler) -> list[dict[str, Any]]:
    """One row per slot, in llama-server's field names."""
    by_slot = {running.slot: running for running in scheduler.running.values()}
    speculative = scheduler.limits.n_draft > 0
    return [
        slot_row(scheduler.slots[number], by_slot.get(number), context, speculative)
        for number in range(scheduler.limits.n_slots)
    ]


def slot_row(
    slot: Slot, running: Running | None, context: Context, speculative: bool
) -> dict[str, Any]:
    """A slot that never worked has no request; an idle one tells of its last."""
    row: dict[str, Any] = {
        "id": slot.id,
        "n_ctx": context.n_ctx_seq,
        "speculative": speculative,
        "is_processing": running is not None,
    }
    if running is not None:
        max_tokens = running.request.max_tokens
        row |= {
            "id_task": running.id,
            "n_prompt_tokens": running.n_computed,
            "n_prompt_tokens_processed": min(running.n_computed, running.n_prompt)
            - min(running.n_reused, running.n_prompt),
            "n_prompt_tokens_cache": running.n_reused,
            "n_decoded": running.n_generated,
            "n_remain": max_tokens - running.n_generated if max_tokens >= 0 else -1,
        }
    elif slot.requests:
        row |= {
            "id_task": slot.requests[-1],
            "n_prompt_tokens": len(slot.tokens),
            "n_prompt_tokens_processed": 0,
            "n_prompt_tokens_cache": 0,
            "n_decoded": 0,
            "n_remain": -1,
        }
    return row


def embedding_memory_report(loop: EmbeddingLoop) -> dict[str, Any]:
    """As `memory_report`; a server that embeds keeps nothing of a request."""
    context = loop.context
    report = context.memory()
    return {
        "devices": device_rows(report),
        "clients": [],
        "kv": {
            "n_cells": context.n_ctx,
            "n_cells_used": 0,
            "n_cells_reserved": 0,
            "cell_bytes": context.kv_cell_bytes,
            "unified": context.kv_unified,
        },
        "prefixes": {
            "n_on_device": 0,
            "n_in_host_memory": 0,
            "n_on_disk": 0,
            "n_cells": 0,
            "host_bytes": 0,
        },
        "activity": activity(loop),
        "graphs": {"n_steps": loop.n_steps, "n_reused": context.graphs_reused},
        "n_sequences": context.n_parallel,
        "recurrent_seq_bytes": context.recurrent_seq_bytes,
        "total_bytes": report.total_bytes,
        "allocated_bytes": report.allocated_bytes,
        "allocated": dict(report.allocated),
    }


def embedding_slots_report(scheduler: EmbeddingScheduler) -> list[dict[str, Any]]:
    """As `slots_report`."""
    by_slot = {running.slot: running for running in scheduler.running.values()}
    return [
        embedding_slot_row(slot, by_slot.get(slot), scheduler)
        for slot in range(scheduler.limits.n_slots)
    ]


def embedding_slot_row(
    slot: int, embedding: Embedding | None, scheduler: EmbeddingScheduler
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": slot,
        "n_ctx": scheduler.limits.n_prompt,
        "speculative": False,
        "is_processing": embedding is not None,
    }
    if embedding is not None:
        row |= {
            "id_task": embedding.request.id,
            "n_prompt_tokens": embedding.request.n_tokens,
            "n_prompt_tokens_processed": embedding.n_computed,
            "n_prompt_tokens_cache": 0,
            "n_decoded": 0,
            "n_remain": 0,
        }
    return row
