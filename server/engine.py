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
from ..errors import PannierError
from ..model import Model, Progress
from .config import EngineConfig
from .loading import load_model, make_context
from .loop import EngineLoop
from .messages import Failed, Loading, Ready
from .scheduler import Limits, Scheduler

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
    except PannierError as error:
        connection.send(Failed(str(error)))
        return
    with model:
        try:
            context = make_context(model, config)
        except PannierError as error:
            connection.send(Failed(str(error)))
            return
        with context:
            connection.send(ready(model, context, time.monotonic() - started))
            scheduler = Scheduler(limits(context), model.eog_tokens)
            EngineLoop(connection, context, scheduler).run()


def report_loading(connection: Connection) -> Progress:
    """Sends news of the load, at most one for each hundredth."""
    reported = -1.0

    def progress(fraction: float) -> None:
        nonlocal reported
        if fraction - reported >= PROGRESS_STEP or fraction >= 1.0:
            reported = fraction
            connection.send(Loading(fraction))

    return progress


def limits(context: Context) -> Limits:
    return Limits(
        n_slots=context.n_parallel,
        n_ctx=context.n_ctx,
        n_ctx_seq=context.n_ctx_seq,
        n_batch=context.n_batch,
        n_mixed=max(context.n_ubatch, context.n_parallel + 1),
        unified=context.kv_unified,
    )


def ready(model: Model, context: Context, load_seconds: float) -> Ready:
    return Ready(
        n_ctx=context.n_ctx,
        n_ctx_slot=context.n_ctx_seq,
        n_slots=context.n_parallel,
        n_batch=context.n_batch,
        load_seconds=load_seconds,
        facts=facts(model, context),
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
        "n_vocab": model.n_vocab,
        "n_ctx_train": model.n_ctx_train,
        "n_embd": model.n_embd,
        "kv_cell_bytes": context.kv_cell_bytes,
        "recurrent_seq_bytes": context.recurrent_seq_bytes,
        "kv_unified": context.kv_unified,
    }
