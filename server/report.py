"""The reports behind `/memory` and `/slots`, JSON-ready."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..context import Context
from ..ledger import HOST
from ..memory import DeviceMemory, MemoryReport, SequenceMemory
from .activity import activity, progress
from .embedding_scheduler import Embedding, EmbeddingScheduler
from .running import Running
from .scheduler import Scheduler
from .slots import Slot

if TYPE_CHECKING:
    from .embedding_loop import EmbeddingLoop
    from .loop import EngineLoop


def memory_report(loop: EngineLoop) -> dict[str, Any]:
    """Bytes by device and owner, bytes by client, and the allocator's record beside their sum."""
    context, scheduler = loop.context, loop.scheduler
    report = context.memory()
    by_seq = {running.seq: running for running in scheduler.running.values()}
    held = [one for one in report.sequences if one.seq_id in by_seq or one.owned_bytes]
    holdings = Holdings(report, by_seq)
    return {
        "devices": device_rows(report, loop.memory.store.host_bytes),
        "clients": [client_row(context, by_seq.get(one.seq_id), one) for one in held],
        "kv": kv_row(
            context,
            holdings,
            scheduler.tree.n_cells,
            scheduler.n_promised - n_kept_cells(scheduler),
        ),
        "states": holdings.states,
        "prefixes": prefixes(loop, holdings),
        "activity": activity(loop),
        **engine_row(context, report, loop.n_steps),
    }


class Holdings:
    """The bytes of the caches by who holds them: running requests, kept prefixes, nobody."""

    def __init__(self, report: MemoryReport, running: Collection[int]) -> None:
        """`running`: sequences of running requests."""
        clients = [one for one in report.sequences if one.seq_id in running]
        kept = [one for one in report.sequences if one.seq_id not in running]
        self.kv = _split(report.kind_bytes("kv"), _cell_bytes(clients), _cell_bytes(kept))
        states = report.kind_bytes("recurrent") + report.kind_bytes("rollback")
        self.states = _split(states, _state_bytes(clients), _state_bytes(kept))

    @property
    def kept_bytes(self) -> int:
        """Of prefixes, on the devices."""
        return self.kv["kept_bytes"] + self.states["kept_bytes"]


def _split(all_bytes: int, clients: int, kept: int) -> dict[str, int]:
    free = all_bytes - clients - kept
    return {"clients_bytes": clients, "kept_bytes": kept, "free_bytes": free}


def _cell_bytes(sequences: Iterable[SequenceMemory]) -> int:
    return sum(one.kv_private_bytes + one.kv_shared_bytes for one in sequences)


def _state_bytes(sequences: Iterable[SequenceMemory]) -> int:
    return sum(one.recurrent_bytes + one.rollback_bytes for one in sequences)


def request_memory(context: Context, running: Running, held: SequenceMemory) -> dict[str, int]:
    """What one request holds."""
    return {
        "n_cells": held.n_cells,
        "n_cells_shared": held.n_cells_shared,
        "n_cells_reserved": running.n_reserved,
        "kv_bytes": held.kv_bytes,
        "kv_private_bytes": held.kv_private_bytes,
        "kv_shared_bytes": held.kv_shared_bytes,
        "recurrent_bytes": held.recurrent_bytes,
        "rollback_bytes": held.rollback_bytes,
        **extent(context, running, held),
    }


def extent(context: Context, running: Running, held: SequenceMemory) -> dict[str, int]:
    """What a request owns now, what it has owned at most, and what it would with all that it was
    promised and nobody to share it. Its share shrinks when others come to share its cells and when
    it starts over, and is noted then; otherwise it only grows until the end."""
    n_most = min(running.n_reserved, context.n_ctx_seq)
    now = held.owned_bytes
    n_before = max(running.n_share_before, n_most if running.shifted else 0.0)
    before = round(n_before * context.kv_cell_bytes) + held.recurrent_bytes + held.rollback_bytes
    whole = n_most * context.kv_cell_bytes + context.window_seq_bytes + context.recurrent_seq_bytes
    peak = max(now, before)
    return {"now_bytes": now, "peak_bytes": peak, "reserved_bytes": max(peak, whole)}


def n_kept_cells(scheduler: Scheduler) -> int:
    """Cells that are there for later requests only."""
    busy = [running.seq for running in scheduler.running.values()]
    return scheduler.tree.n_cells - scheduler.tree.n_held(busy)


def kv_row(context: Context, holdings: Holdings, n_used: int, n_reserved: int) -> dict[str, Any]:
    """The KV cache: its cells, and its bytes by holder."""
    return {
        "n_cells": context.n_ctx,
        "n_cells_used": n_used,
        "n_cells_reserved": n_reserved,
        "cell_bytes": context.kv_cell_bytes,
        "unified": context.kv_unified,
        **holdings.kv,
    }


def engine_row(context: Context, report: MemoryReport, n_steps: int) -> dict[str, Any]:
    """What is of the engine as a whole."""
    return {
        "host_memory": context.model.host_memory.as_dict(),
        "graphs": {"n_steps": n_steps, "n_reused": context.graphs_reused},
        "n_sequences": context.n_parallel,
        "recurrent_seq_bytes": context.recurrent_seq_bytes,
        "total_bytes": report.total_bytes,
        "allocated_bytes": report.allocated_bytes,
        "allocated": dict(report.allocated),
    }


def prefixes(loop: EngineLoop, holdings: Holdings) -> dict[str, Any]:
    """What is kept of earlier requests, by place."""
    cache, store = loop.scheduler.cache, loop.memory.store
    kept = list(cache.kept.values())
    return {
        "n_on_device": len(cache.sequences),
        "n_in_host_memory": sum(one.stored == "host" for one in kept),
        "n_on_disk": sum(one.stored == "disk" for one in kept),
        "n_cells": n_kept_cells(loop.scheduler),
        "device_bytes": holdings.kept_bytes,
        "host_bytes": store.host_bytes,
        "disk_bytes": store.disk_bytes,
    }


NO_PREFIXES = dict.fromkeys(
    ("n_on_device", "n_in_host_memory", "n_on_disk", "n_cells", "device_bytes", "host_bytes",
     "disk_bytes"),
    0,
)  # fmt: skip


def device_rows(report: MemoryReport, host_state_bytes: int = 0) -> list[dict[str, Any]]:
    """One row per device: total, free, and what each owner holds there."""
    return [
        device_row(replace(device, checkpoint_bytes=host_state_bytes * (device.name == HOST)))
        for device in report.devices
    ]


def device_row(device: DeviceMemory) -> dict[str, Any]:
    """One device."""
    return {
        "name": device.name,
        "description": device.description,
        "type": device.type,
        "total_bytes": device.total_bytes,
        "free_bytes": device.free_bytes,
        "process_bytes": device.process_bytes,
        **{f"{kind}_bytes": n_bytes for kind, n_bytes in device.kinds.items()},
        "checkpoint_bytes": device.checkpoint_bytes,
        "pool_bytes": device.pool_bytes,
        "untracked_bytes": device.untracked_bytes,
        "weights": dict(device.weights),
    }


def client_row(
    context: Context, running: Running | None, sequence: SequenceMemory
) -> dict[str, Any]:
    """What one client holds; `id` and `slot` are null for a prefix that no request runs on."""
    kept = dict.fromkeys(("now_bytes", "peak_bytes", "reserved_bytes"), sequence.owned_bytes)
    return {
        "id": running.id if running else None,
        "slot": running.slot if running else None,
        "seq": sequence.seq_id,
        **progress(running),
        "n_cells": sequence.n_cells,
        "n_cells_shared": sequence.n_cells_shared,
        "n_cells_reserved": running.n_reserved if running else 0,
        "kv_bytes": sequence.kv_bytes,
        "kv_private_bytes": sequence.kv_private_bytes,
        "kv_shared_bytes": sequence.kv_shared_bytes,
        "recurrent_bytes": sequence.recurrent_bytes,
        "rollback_bytes": sequence.rollback_bytes,
        **(extent(context, running, sequence) if running else kept),
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
    holdings = Holdings(replace(report, sequences=()), ())
    return {
        "devices": device_rows(report),
        "clients": [],
        "kv": kv_row(context, holdings, 0, 0),
        "states": holdings.states,
        "prefixes": NO_PREFIXES,
        "activity": activity(loop),
        **engine_row(context, report, loop.n_steps),
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
