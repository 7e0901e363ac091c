"""The engine side of the server: loads the model, then runs the loop.

`run_engine` is the whole of it, the same in a thread and in a child process.
"""

from __future__ import annotations

import os
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from .. import _ffi
from ..context import Context
from ..engine.store import open_engine
from ..errors import PannierError, ServerError
from ..model import Model, Progress
from .config import EngineConfig
from .embedding_loop import EmbeddingLoop
from .embedding_scheduler import BatchLimits, EmbeddingScheduler
from .expert_cache import cache_problems
from .limits import Limits, Policy
from .loading import check_adapters, load_model, make_context, make_embedding_context
from .loop import EngineLoop
from .messages import Failed, Loading, Ready
from .prefix_cache import CacheSizes
from .scheduler import Scheduler
from .state_store import StateStore

PROGRESS_STEP = 0.01


def run_engine(connection: Connection, config: EngineConfig) -> None:
    """Load, say Ready, serve until told to stop; say Failed if that goes wrong."""
    try:
        with connection:
            serve(connection, config)
    except (BrokenPipeError, ConnectionResetError):
        return  # the HTTP side went away while the model was loading


def serve(connection: Connection, config: EngineConfig) -> None:
    started = time.monotonic()
    try:
        if config.engine:
            _ffi.load(open_engine(Path(config.engine)).library)
        model = load_model(config, report_loading(connection))
        adapters = [model.add_adapter(path) for path in config.adapters]
    except PannierError as error:
        connection.send(Failed(str(error)))
        return
    with model:
        make = make_embedding_context if config.embeddings else make_context
        try:
            context = make(model, config)
            if config.strict:
                check_adapters(context, adapters)
        except PannierError as error:
            connection.send(Failed(str(error)))
            return
        with context:
            loop: EngineLoop | EmbeddingLoop
            if config.embeddings:
                loop = make_embedding_loop(connection, config, model, context)
            else:
                loop = make_loop(connection, config, model, context)
            connection.send(ready(model, context, config, time.monotonic() - started))
            loop.run()


def report_loading(connection: Connection) -> Progress:
    """Sends news of the load, at most one for each hundredth."""
    reported = -1.0

    def progress(fraction: float) -> None:
        nonlocal reported
        if fraction - reported >= PROGRESS_STEP or fraction >= 1.0:
            reported = fraction
            connection.send(Loading(fraction))

    return progress


def make_loop(
    connection: Connection, config: EngineConfig, model: Model, context: Context
) -> EngineLoop:
    """The loop of a context, with the states that earlier processes left for it."""
    store = open_store(config, context)
    scheduler = Scheduler(
        limits(
            context,
            config.n_parallel,
            n_draft(context, config),
            min(config.n_ctx_slot, context.n_ctx_seq),
        ),
        model.eog_tokens,
        Policy(
            config.max_queue,
            config.max_per_key,
            n_gram=config.spec_size_n,
            slot_similarity=config.slot_similarity,
            keep_prompts=config.slots_are_saved,
        ),
        cache_sizes(config, context),
    )
    if scheduler.cache.sizes.disk_bytes:
        for tokens, path in store.found():
            store.adopt(scheduler.cache.add_stored(tokens), path)
        scheduler.cache.trim_disk()
    return EngineLoop(
        connection,
        context,
        scheduler,
        store,
        max_itl_s=config.max_itl_ms / 1000,
        stream_interval_s=config.stream_interval_ms / 1000,
        queue_timeout_s=config.queue_timeout_s,
    )


def make_embedding_loop(
    connection: Connection, config: EngineConfig, model: Model, context: Context
) -> EmbeddingLoop:
    """The loop of a context that embeds."""
    sizes = BatchLimits(
        n_slots=config.n_parallel,
        n_prompts=context.n_parallel,
        n_tokens=min(context.n_ubatch, context.n_ctx_seq),
        n_prompt=min(context.n_embed_max, n_ctx_slot(model, context)),
    )
    scheduler = EmbeddingScheduler(sizes, Policy(config.max_queue, config.max_per_key))
    return EmbeddingLoop(connection, context, scheduler, queue_timeout_s=config.queue_timeout_s)


def n_ctx_slot(model: Model, context: Context) -> int:
    """Most tokens of a request."""
    if context.embeddings:
        return min(context.n_ctx_seq, model.n_ctx_train)
    return context.n_ctx_seq


def open_store(config: EngineConfig, context: Context) -> StateStore:
    """States of this model file, engine and cache layout. Raises `ServerError`."""
    directory = Path(config.prefix_cache_dir).expanduser() if config.prefix_cache_dir else None
    file = Path(config.model).stat()
    types = (config.cache_type_k, config.cache_type_v, config.state_type)
    layout = (*types, config.flash_attn, context.kv_unified)
    engine = _ffi.library().path.parent.parent.name
    identity = f"{Path(config.model).name} {file.st_size} {file.st_mtime_ns} {engine} {layout}"
    try:
        return StateStore(directory, identity)
    except OSError as error:
        raise ServerError(
            f"{config.prefix_cache_dir} cannot be used as prefix_cache_dir: {error.strerror}"
        ) from error


def cache_sizes(config: EngineConfig, context: Context) -> CacheSizes:
    return CacheSizes(
        cell_bytes=context.kv_cell_bytes,
        state_bytes=context.recurrent_seq_bytes // (1 + context.n_rs_seq)
        + context.window_seq_bytes,
        host_bytes=config.cache_ram_mib << 20,
        disk_bytes=config.prefix_cache_mib << 20 if config.prefix_cache_dir else 0,
    )


def n_draft(context: Context, config: EngineConfig) -> int:
    """Most guessed tokens of a request in a step: those of all slots fit one ubatch."""
    n_fitting = context.n_ubatch // config.n_parallel - 1
    return max(0, min(config.n_draft, context.n_draft_max, n_fitting))


def notice(context: Context, config: EngineConfig) -> str:
    """What the operator asked for and does not get, and what memory has no room for, a line for
    each."""
    model = context.model
    problems = () if config.strict else context.placement(n_decoding(context, config)).problems
    unused = () if config.strict else cache_problems(context, config)
    rows = (str(model.paging or ""), *model.placement_notes, *model.host_memory.problems)
    lines = [*rows, *map(str, problems), *unused, speculation_notice(context, config)]
    return "\n".join(filter(None, lines))


def n_decoding(context: Context, config: EngineConfig) -> int:
    """Most requests that decode at once."""
    return min(config.n_parallel, context.n_parallel)


def speculation_notice(context: Context, config: EngineConfig) -> str:
    if config.spec_type == "none" or config.embeddings or n_draft(context, config):
        return ""
    if config.n_draft:
        reason = "llama.cpp cannot take wrong guesses out of this model's state"
    else:
        reason = (
            f"-c {config.n_ctx}, -b {config.n_batch} and -ub {config.n_ubatch} "
            f"leave no room for guesses of {config.n_parallel} slots"
        )
    return f"--spec-type {config.spec_type} is off: {reason}"


def limits(context: Context, n_slots: int, n_draft: int = 0, n_ctx_slot: int = 0) -> Limits:
    # a model without a KV cache has no cells to run out of
    n_ctx = context.n_ctx if context.kv_cell_bytes else context.n_ctx_seq * context.n_parallel
    return Limits(
        n_slots=n_slots,
        n_ctx=n_ctx,
        n_ctx_seq=n_ctx_slot or context.n_ctx_seq,
        n_batch=context.n_batch,
        # each mixed step costs a pass for the tokens of those that decode: half of the steps that
        # llama-server makes them wait for is what a prompt loses little by
        n_mixed=max(context.n_ubatch, context.n_batch // 2, n_slots + 1),
        n_ubatch=context.n_ubatch,
        unified=context.kv_unified,
        n_seqs=context.n_parallel,
        can_cut=context.can_cut,
        equal_chunks=context.has_recurrent,
        apart=mixes_badly(context),
        n_draft=n_draft,
    )


def mixes_badly(context: Context) -> bool:
    """The CPU's attention takes many rows at once, each over the cells of all of them: rows of
    several sequences over all of theirs. In passes of a recurrent memory they never meet."""
    if context.has_recurrent or not context.kv_unified:
        return False
    return all(row.is_host for row in context.memory().rows if row.kind == "kv")


def ready(model: Model, context: Context, config: EngineConfig, load_seconds: float) -> Ready:
    return Ready(
        n_ctx=context.n_ctx,
        n_ctx_slot=min(config.n_ctx_slot or context.n_ctx_seq, n_ctx_slot(model, context)),
        n_slots=config.n_parallel,
        n_batch=context.n_batch,
        load_seconds=load_seconds,
        facts=facts(model, context),
        notice=notice(context, config),
    )


def facts(model: Model, context: Context) -> dict[str, Any]:
    """What `/props` and `/v1/models` tell of the engine and the model."""
    return {
        "pid": os.getpid(),
        "engine": str(_ffi.library().path),
        "build_info": _ffi.library().build_info().decode(),
        "description": model.description,
        "ftype": model.ftype,
        "n_params": model.n_params,
        "size_bytes": model.size_bytes,
        "host_memory": str(model.host_memory) if model.host_memory.is_asked else "",
        "n_vocab": model.n_vocab,
        "n_ctx_train": model.n_ctx_train,
        "n_embd": model.n_embd,
        "kv_cell_bytes": context.kv_cell_bytes,
        "recurrent_seq_bytes": context.recurrent_seq_bytes,
        "kv_unified": context.kv_unified,
        "can_cut": context.can_cut,
        "embeddings": context.embeddings,
        "pooling": context.pooling if context.embeddings else "",
        "n_embd_out": context.n_embd_out,
        "n_ubatch": context.n_ubatch,
        "n_embed_max": context.n_embed_max,
    }
