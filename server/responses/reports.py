"""Answer of `/memory`. The words are explained in docs/memory.md."""

from __future__ import annotations

from typing import Any, Literal

from .base import Answer


class Device(Answer):
    """What the model and its context hold on a device, by kind."""

    name: str
    description: str
    type: str
    total_bytes: int
    free_bytes: int
    weights_bytes: int
    kv_bytes: int
    recurrent_bytes: int
    compute_bytes: int
    output_bytes: int
    moe_cache_bytes: int
    other_bytes: int
    """In use there, and not ours."""


class Client(Answer):
    """One for each request that runs, and one without `id` and `slot` for each prefix that is
    kept."""

    id: int | None
    slot: int | None
    seq: int
    """The sequence that holds it."""
    state: Literal["prompt", "decoding", "kept"]
    """What its request does; kept: a prefix for later ones, whose counts are 0."""
    n_prompt: int
    """Tokens."""
    n_reused: int
    """Of these, those that were there when it started."""
    n_computed: int
    """Tokens of prompt and answer that the sequence holds."""
    n_generated: int
    n_cells: int
    n_cells_shared: int
    """With other sequences."""
    n_cells_reserved: int
    """For its whole length."""
    kv_bytes: int
    recurrent_bytes: int
    total_bytes: int
    client: str | None
    """Address of who asked; null with `--no-slots`."""


class Cells(Answer):
    """Cells of the cache."""

    n_cells: int
    n_cells_used: int
    n_cells_reserved: int
    """In use by or promised to running requests."""
    cell_bytes: int
    unified: bool


class Prefixes(Answer):
    """States kept of earlier requests."""

    n_on_device: int
    """Sequences."""
    n_in_host_memory: int
    """Saved states."""
    n_on_disk: int
    n_cells: int
    """Cells that only they hold."""
    host_bytes: int


class Graphs(Answer):
    """Steps so far."""

    n_steps: int
    n_reused: int
    """llama.cpp's passes that reused the graph of the one before."""


class Activity(Answer):
    """What happened since the engine started; a new one begins again."""

    n_running: int
    """Requests that have a slot."""
    n_waiting: int
    max_queue: int
    """Most that may wait; 0: any number."""
    n_started: int
    """Requests that got a slot."""
    n_hits: int
    """Of these, those that started from something that was kept."""
    n_finished: int
    """Requests that ended in any other way than the next two, those that their client left too."""
    n_refused: int
    """They found the queue full, or waited too long."""
    n_failed: int
    n_prompt_tokens: int
    """Prompt tokens that were computed."""
    n_cached_tokens: int
    """Prompt tokens that were there."""
    n_generated_tokens: int
    uptime_s: float
    reasons: dict[str, int]
    """Requests that started, by why tokens of their prompt had to be computed that others like them
    had been before: see [prefixes.md](prefixes.md)."""


class Memory(Answer):
    """Bytes as the engine counts them between two steps."""

    devices: list[Device]
    clients: list[Client]
    kv: Cells
    prefixes: Prefixes
    activity: Activity
    graphs: Graphs
    n_sequences: int
    """Sequences of the context: those of the slots and those for prefixes."""
    recurrent_seq_bytes: int
    """A sequence's recurrent state."""
    total_bytes: int
    """Sum of the kinds over the devices."""
    allocated_bytes: int
    """The allocator's own record; equal to the sum."""
    allocated: dict[str, int]
    """The same by buffer type."""


MEMORY: dict[str, Any] = {
    "devices": [
        {
            "name": "CPU",
            "description": "AMD EPYC",
            "type": "cpu",
            "total_bytes": 25276518400,
            "free_bytes": 22962798592,
            "weights_bytes": 704000,
            "kv_bytes": 1048576,
            "recurrent_bytes": 270336,
            "compute_bytes": 5589056,
            "output_bytes": 20480,
            "moe_cache_bytes": 0,
            "other_bytes": 2306305472,
        }
    ],
    "clients": [
        {
            "id": 8,
            "slot": 0,
            "seq": 0,
            "state": "decoding",
            "n_prompt": 13,
            "n_reused": 0,
            "n_computed": 485,
            "n_generated": 473,
            "n_cells": 485,
            "n_cells_shared": 0,
            "n_cells_reserved": 3013,
            "kv_bytes": 124160,
            "recurrent_bytes": 16896,
            "total_bytes": 141056,
            "client": "127.0.0.1:54762",
        }
    ],
    "kv": {
        "n_cells": 4096,
        "n_cells_used": 485,
        "n_cells_reserved": 3013,
        "cell_bytes": 256,
        "unified": True,
    },
    "prefixes": {
        "n_on_device": 0,
        "n_in_host_memory": 0,
        "n_on_disk": 0,
        "n_cells": 0,
        "host_bytes": 0,
    },
    "activity": {
        "n_running": 1,
        "n_waiting": 0,
        "max_queue": 0,
        "n_started": 4,
        "n_hits": 1,
        "n_finished": 3,
        "n_refused": 0,
        "n_failed": 0,
        "n_prompt_tokens": 61,
        "n_cached_tokens": 12,
        "n_generated_tokens": 521,
        "uptime_s": 84.312,
        "reasons": {"nothing shared": 2},
    },
    "graphs": {"n_steps": 483, "n_reused": 480},
    "n_sequences": 16,
    "recurrent_seq_bytes": 16896,
    "total_bytes": 7632448,
    "allocated_bytes": 7632448,
    "allocated": {"CPU_Mapped": 704000, "CPU": 6928448},
}
