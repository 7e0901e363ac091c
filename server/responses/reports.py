"""Answer of `/memory`. The words are explained in docs/memory.md."""

from __future__ import annotations

from typing import Any, Literal

from .base import Answer


class Weights(Answer):
    """Weights on a device, by what they are for."""

    experts: int
    """The routed ones."""
    attention: int
    ffn: int
    """Dense and shared ones, routers."""
    recurrent: int
    embedding: int
    output: int
    norm: int
    other: int
    """The rest, and the padding of buffers."""


class Device(Answer):
    """A device, and what each owner holds there."""

    name: str
    """`CPU` is system memory, pinned buffers included."""
    description: str
    type: str
    total_bytes: int
    free_bytes: int
    process_bytes: int | None
    """What the driver says this process holds there; null where it does not say."""
    weights_bytes: int
    kv_bytes: int
    recurrent_bytes: int
    """Recurrent states, without what they can be rolled back to."""
    rollback_bytes: int
    """What they can be rolled back to."""
    checkpoint_bytes: int
    """Saved states of prefixes."""
    compute_bytes: int
    output_bytes: int
    moe_cache_bytes: int
    lora_bytes: int
    pool_bytes: int
    """The backend's scratch memory, where it tells (Vulkan)."""
    untracked_bytes: int
    """`process_bytes` (or what is in use there, where it is null) without all of the above."""
    weights: Weights
    """Their sum is `weights_bytes`."""


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
    """Of its cells, shared ones in full."""
    kv_private_bytes: int
    """Of the cells that it has alone."""
    kv_shared_bytes: int
    """Its share of the others: the bytes of each by the number of its sharers."""
    recurrent_bytes: int
    """Of its recurrent state, or its share of it."""
    rollback_bytes: int
    """Of what the state can be rolled back to, likewise."""
    now_bytes: int
    """The sum: cells that it has alone, shares of the others, state."""
    peak_bytes: int
    """The most that it was."""
    reserved_bytes: int
    """What it would be at its whole length if nobody shared anything with it."""
    client: str | None
    """Address of who asked; null with `--no-slots`."""


class Cells(Answer):
    """Cells of the cache. The bytes of clients, of kept prefixes and of free cells add up to it."""

    n_cells: int
    n_cells_used: int
    n_cells_reserved: int
    """In use by or promised to running requests."""
    cell_bytes: int
    unified: bool
    clients_bytes: int
    """Shares of running requests."""
    kept_bytes: int
    """Shares of kept prefixes."""
    free_bytes: int
    """Nobody's."""


class States(Answer):
    """Bytes of the recurrent states, rollback included, by holder. They add up to all of them."""

    clients_bytes: int
    kept_bytes: int
    free_bytes: int


class Prefixes(Answer):
    """States kept of earlier requests."""

    n_on_device: int
    """Sequences."""
    n_in_host_memory: int
    """Saved states."""
    n_on_disk: int
    n_cells: int
    """Cells that only they hold."""
    device_bytes: int
    """Their shares of the cells and states on the devices."""
    host_bytes: int
    """Saved states in system memory."""
    disk_bytes: int
    """Files."""


class HostWeights(Answer):
    """What the weights of a role lie in, of those in system memory."""

    mapped_bytes: int
    """Pages of the file, which the kernel may drop."""
    locked_bytes: int
    """Pages of the file that stay."""
    pinned_bytes: int
    """Memory that a device reads by itself."""
    copied_bytes: int
    """Ordinary memory."""
    repacked_bytes: int
    """Ordinary memory, rearranged for the CPU's kernels."""


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
    states: States
    prefixes: Prefixes
    activity: Activity
    host_memory: dict[str, HostWeights]
    """Weights that are in system memory, by role."""
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
            "total_bytes": 25276502016,
            "free_bytes": 24137302016,
            "process_bytes": 81317888,
            "weights_bytes": 704000,
            "kv_bytes": 1048576,
            "recurrent_bytes": 270336,
            "rollback_bytes": 0,
            "checkpoint_bytes": 0,
            "compute_bytes": 5589120,
            "output_bytes": 20480,
            "moe_cache_bytes": 0,
            "lora_bytes": 0,
            "pool_bytes": 0,
            "untracked_bytes": 73685376,
            "weights": {
                "experts": 393216,
                "attention": 139264,
                "ffn": 53760,
                "recurrent": 34080,
                "embedding": 40960,
                "output": 40960,
                "norm": 1664,
                "other": 96,
            },
        }
    ],
    "clients": [
        {
            "id": 1,
            "slot": 3,
            "seq": 0,
            "state": "decoding",
            "n_prompt": 13,
            "n_reused": 0,
            "n_computed": 610,
            "n_generated": 598,
            "n_cells": 610,
            "n_cells_shared": 0,
            "n_cells_reserved": 3003,
            "kv_bytes": 156160,
            "kv_private_bytes": 156160,
            "kv_shared_bytes": 0,
            "recurrent_bytes": 16896,
            "rollback_bytes": 0,
            "now_bytes": 173056,
            "peak_bytes": 173056,
            "reserved_bytes": 785664,
            "client": "127.0.0.1:58312",
        }
    ],
    "kv": {
        "n_cells": 4096,
        "n_cells_used": 610,
        "n_cells_reserved": 3003,
        "cell_bytes": 256,
        "unified": True,
        "clients_bytes": 156160,
        "kept_bytes": 0,
        "free_bytes": 892416,
    },
    "states": {"clients_bytes": 16896, "kept_bytes": 0, "free_bytes": 253440},
    "prefixes": {
        "n_on_device": 0,
        "n_in_host_memory": 0,
        "n_on_disk": 0,
        "n_cells": 0,
        "device_bytes": 0,
        "host_bytes": 0,
        "disk_bytes": 0,
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
        "n_generated_tokens": 646,
        "uptime_s": 84.312,
        "reasons": {"nothing shared": 2},
    },
    "host_memory": {
        "experts": {
            "mapped_bytes": 131072,
            "locked_bytes": 0,
            "pinned_bytes": 262144,
            "copied_bytes": 0,
            "repacked_bytes": 0,
        }
    },
    "graphs": {"n_steps": 608, "n_reused": 604},
    "n_sequences": 16,
    "recurrent_seq_bytes": 16896,
    "total_bytes": 7632512,
    "allocated_bytes": 7632512,
    "allocated": {"CPU_Mapped": 704000, "CPU": 6928512},
}
