"""`GET /metrics`: llama-server's metrics under its names, and pannier's own.

Source of the names: `to_metrics` in llama.cpp's `tools/server/server-task.cpp`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Request, Response

from ..endpoint import describes
from ..prometheus import CONTENT_TYPE, Metric, counter, gauge, render
from ..reasons import NONE
from ..state import Serving, serving
from .slots import not_started_with

router = APIRouter()

EXAMPLE = """\
# HELP llamacpp:prompt_tokens_total Prompt tokens that were computed
# TYPE llamacpp:prompt_tokens_total counter
llamacpp:prompt_tokens_total 2113
# HELP pannier_memory_bytes What the model and its context hold, by device and kind
# TYPE pannier_memory_bytes gauge
pannier_memory_bytes{device="CPU",kind="kv"} 1048576
"""
OWNERS = (
    *("weights", "kv", "recurrent", "rollback", "checkpoint", "compute", "output", "moe_cache"),
    *("lora", "pool", "untracked"),
)


@router.get("/metrics")
@describes(answer=str, media_type=CONTENT_TYPE, example_answer=EXAMPLE, errors=(501,))
async def metrics(request: Request) -> Response:
    """Counters and gauges in Prometheus' text format (with `--metrics`).

    llama-server's under its names, which begin with `llamacpp:`, and pannier's own, which begin
    with `pannier_`: memory by device and owner, by holder and by slot, what the cache of experts
    did, what is kept of prefixes and why prompts were computed again, the queue, requests by client
    (a digest of the API key), engines that were replaced. Rates are those since somebody asked
    last. Counters of the engine begin again when it does.
    """
    server = serving(request)
    if not server.settings.metrics_endpoint:
        raise not_started_with("metrics endpoint", "--metrics")
    report = await server.client.query("metrics")
    text = render([*_of_llama_server(report["counters"]), *_own(report, server)])
    started = {"Process-Start-Time-Unix": str(server.created)}
    return Response(text, 200, started, CONTENT_TYPE)


def _of_llama_server(counts: dict[str, Any]) -> Iterator[Metric]:
    for name, help, key in COUNTERS:
        yield counter(f"llamacpp:{name}", help, counts[key])
    for name, help, key in GAUGES:
        yield gauge(f"llamacpp:{name}", help, counts[key])
    busy = counts["n_busy"] / max(counts["n_steps"], 1)
    yield gauge("llamacpp:n_busy_slots_per_decode", "Requests that ran in a step, on average", busy)


COUNTERS = (
    ("prompt_tokens_total", "Prompt tokens that were computed", "prompt_tokens"),
    ("prompt_tokens_cached_total", "Prompt tokens that were there", "cached_tokens"),
    ("prompt_seconds_total", "Seconds of steps that computed prompts", "prompt_seconds"),
    ("tokens_predicted_total", "Tokens that were sampled", "predicted_tokens"),
    ("tokens_predicted_seconds_total", "Seconds of answers", "predicted_seconds"),
    ("n_decode_total", "Steps", "n_steps"),
    ("n_tokens_max", "Most tokens of a request, prompt and answer", "n_tokens_max"),
    ("spec_decode_num_draft_tokens_total", "Tokens that were guessed", "n_drafted"),
    ("spec_decode_num_accepted_tokens_total", "Guesses that came true", "n_draft_accepted"),
    ("spec_decode_num_drafts_total", "Steps of a request that had guesses", "n_draft_steps"),
)
GAUGES = (
    ("prompt_tokens_seconds", "Prompt tokens per second of late", "prompt_per_second"),
    ("predicted_tokens_seconds", "Sampled tokens per second of late", "predicted_per_second"),
    ("requests_processing", "Requests that run", "n_running"),
    ("requests_deferred", "Requests that wait for a slot", "n_waiting"),
)


def _own(report: dict[str, Any], server: Serving) -> Iterator[Metric]:
    yield from _memory(report)
    yield from _experts(report["experts"])
    yield from _prefixes(report)
    yield from _requests(report["counters"])
    graphs = report["graphs"]
    yield counter("pannier_steps_total", "Steps of this engine", graphs["n_steps"])
    yield counter(
        "pannier_graphs_reused_total", "Passes on the graph of the one before", graphs["n_reused"]
    )
    yield counter(
        "pannier_engine_restarts_total", "Engines that ended and were replaced",
        server.client.n_restarts,
    )  # fmt: skip


DEVICE_GAUGES = (
    ("total", "Memory of a device"),
    ("free", "Of it, what is free"),
    ("process", "Of it, what this process holds, where the driver says"),
)
HOLDERS = ("clients", "kept", "free")
CLIENT_GAUGES = (
    ("now", "What the request of a slot holds: cells, shares of shared cells, state"),
    ("peak", "The most that it has held"),
    ("reserved", "What it would hold at its whole length"),
)


def _memory(report: dict[str, Any]) -> Iterator[Metric]:
    rows = report["devices"]
    yield Metric(
        "pannier_memory_bytes",
        "gauge",
        "What each owner holds, by device",
        tuple(
            ({"device": row["name"], "kind": owner}, row[f"{owner}_bytes"])
            for row in rows
            for owner in OWNERS
        ),
    )
    yield Metric(
        "pannier_weights_bytes",
        "gauge",
        "Weights by device and by what they are for",
        tuple(
            ({"device": row["name"], "role": role}, n_bytes)
            for row in rows
            for role, n_bytes in row["weights"].items()
        ),
    )
    for name, words in DEVICE_GAUGES:
        values = tuple(({"device": row["name"]}, row[f"{name}_bytes"]) for row in rows)
        known = tuple(value for value in values if value[1] is not None)
        yield Metric(f"pannier_device_{name}_bytes", "gauge", words, known)
    yield from _caches(report)


def _caches(report: dict[str, Any]) -> Iterator[Metric]:
    for name, words, row in (
        ("kv", "The KV cache by holder", report["kv"]),
        ("state", "Recurrent states by holder", report["states"]),
    ):
        values = tuple(({"holder": one}, row[f"{one}_bytes"]) for one in HOLDERS)
        yield Metric(f"pannier_{name}_bytes", "gauge", words, values)
    busy = [row for row in report["clients"] if row["slot"] is not None]
    for time, words in CLIENT_GAUGES:
        values = tuple(({"slot": str(row["slot"])}, row[f"{time}_bytes"]) for row in busy)
        yield Metric(f"pannier_slot_{time}_bytes", "gauge", words, values)
    kv = report["kv"]
    yield gauge("pannier_kv_cells", "Cells of the KV cache", kv["n_cells"])
    yield gauge("pannier_kv_cells_used", "Cells in use", kv["n_cells_used"])
    yield gauge(
        "pannier_kv_cells_reserved", "Cells that running requests have or may take",
        kv["n_cells_reserved"],
    )  # fmt: skip


EXPERT_COUNTERS = (
    ("hits", "n_hits", "Chosen experts that were in the cache, by layer"),
    ("misses", "n_misses", "Chosen experts that were uploaded, by layer"),
    ("uploaded_bytes", "uploaded_bytes", "Bytes of these, by layer"),
    ("copied", "n_copied", "Experts that large passes read from the cache, by layer"),
    ("copied_bytes", "copied_bytes", "Bytes of these, by layer"),
    ("wait_seconds", "wait_s", "Seconds until the chosen experts were known, by layer"),
    ("upload_seconds", "upload_s", "Seconds until the missing ones were on their way, by layer"),
)


def _experts(cache: dict[str, Any] | None) -> Iterator[Metric]:
    if cache is None:
        return
    for name, key, words in EXPERT_COUNTERS:
        samples = tuple(
            ({"device": row["device"], "layer": str(row["layer"])}, row[key])
            for row in cache["layers"]
        )
        yield Metric(f"pannier_expert_cache_{name}_total", "counter", words, samples)
    slots = {(row["device"], row["group"]): row["n_slots"] for row in cache["layers"]}
    yield Metric(
        "pannier_expert_cache_slots",
        "gauge",
        "Experts that layers of one layout hold in the cache",
        tuple(({"device": d, "group": str(group)}, n) for (d, group), n in slots.items()),
    )


def _prefixes(report: dict[str, Any]) -> Iterator[Metric]:
    kept, counts = report["prefixes"], report["counters"]
    places = {"device": "n_on_device", "host": "n_in_host_memory", "disk": "n_on_disk"}
    yield Metric(
        "pannier_prefixes_kept",
        "gauge",
        "States that are kept for later prompts, by place",
        tuple(({"place": place}, kept[key]) for place, key in places.items()),
    )
    yield Metric(
        "pannier_prefix_bytes",
        "gauge",
        "What they take, by place",
        tuple(({"place": place}, kept[f"{place}_bytes"]) for place in places),
    )
    yield counter(
        "pannier_prefix_hits_total", "Requests that started from a kept prefix", counts["n_hits"]
    )
    yield Metric(
        "pannier_prompts_total",
        "counter",
        "Requests that started, by why tokens of the prompt had to be computed again",
        tuple(({"reason": reason or "none"}, n) for reason, n in _starts(counts)),
    )


def _starts(counts: dict[str, Any]) -> list[tuple[str, int]]:
    return sorted({NONE: 0, **counts["starts"]}.items())


def _requests(counts: dict[str, Any]) -> Iterator[Metric]:
    yield gauge("pannier_queue_length", "Requests that wait for a slot", counts["n_waiting"])
    yield gauge("pannier_queue_limit", "Most that may wait; 0: any number", counts["max_queue"])
    yield gauge(
        "pannier_client_limit", "Most requests of one API key at once; 0: any number",
        counts["max_per_key"],
    )  # fmt: skip
    yield counter(
        "pannier_requests_refused_total", "Requests that found the queue full", counts["n_refused"]
    )
    yield counter(
        "pannier_requests_timed_out_total", "Requests that waited too long", counts["n_timed_out"]
    )
    yield Metric(
        "pannier_requests_ended_total",
        "counter",
        "Requests that had a slot or waited for one, by how they ended",
        tuple(({"finish": finish}, n) for finish, n in sorted(counts["ends"].items())),
    )
    for state in ("running", "waiting"):
        yield Metric(
            f"pannier_client_requests_{state}",
            "gauge",
            f"Requests by client (a digest of its API key; empty: none): {state}",
            tuple(({"client": row["client"]}, row[f"n_{state}"]) for row in counts["clients"]),
        )
