"""From a configuration to a model and a context in this process."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..adapter import Adapter
from ..batch import Batch
from ..context import Context
from ..cpu_threads import CpuThreads, set_numa
from ..device import layer_devices
from ..errors import ContextError, PlacementError
from ..model import Model, Progress
from ..modelfile import open_model_file
from ..modelfile.costs import client_costs
from ..moe_room import check_cache
from ..op_placement import PlacementReport
from ..planner.facts import ModelFacts
from ..rope import Rope
from .config import EngineConfig
from .expert_cache import check_expert_cache

MAX_SEQUENCES = 256
N_EMBEDDED = 32
"""Prompts that are embedded at once where sequences cost nothing."""
N_FREE = 16
"""Sequences for prefixes where they cost nothing but cells."""


def load_model(config: EngineConfig, progress: Progress | None = None) -> Model:
    """The configuration's model, placed as it says. Raises `ModelError`; before any weight is read
    `PlacementError` and, for a cache of experts that cannot be, `ContextError`; and where weights
    are not in the system memory that was asked for `PlacementError` after."""
    if config.numa:
        set_numa(config.numa)
    if config.strict:
        planned_placement(config).check()
    elif config.moe_cache_mib:
        with Model(no_alloc=True, **model_options(config)) as planned:
            check_cache(planned, config.moe_cache_mib * 2**20)
    model = Model(**model_options(config), check_tensors=config.check_tensors, progress=progress)
    if config.strict:
        check_host_memory(model)
    return model


def check_host_memory(model: Model) -> None:
    """Raises `PlacementError`, the model closed, where weights are not in the system memory that
    was asked for."""
    try:
        model.host_memory.check()
    except PlacementError:
        model.close()
        raise


def make_context(model: Model, config: EngineConfig) -> Context:
    """The context of a configuration over its model. Raises `ContextError`."""
    options = context_options(config, model.n_ctx_train)
    context = model.context(strict=config.strict, **options)
    check_limits(context, config)
    check_expert_cache(context, config)
    if config.warmup:
        warm_up(context)
    return context


def planned_placement(config: EngineConfig) -> PlacementReport:
    """Where the ops of a configuration's graphs would run; nothing is allocated."""
    with Model(no_alloc=True, **model_options(config)) as model:
        if config.embeddings:
            return model.placement(**embedding_options(model, config))
        return model.placement(config.n_parallel, **context_options(config, model.n_ctx_train))


def check_adapters(context: Context, adapters: Iterable[Adapter]) -> None:
    """Look at the graphs of a strict context with each of its adapters. Raises `PlacementError`."""
    for adapter in adapters:
        context.set_adapters({adapter.id: 1.0})
    context.set_adapters({})


def model_options(config: EngineConfig) -> dict[str, Any]:
    """`Model`'s, as far as they say where weights go."""
    return {
        "path": config.model,
        "n_gpu_layers": config.n_gpu_layers,
        "devices": config.devices,
        "experts": config.experts,
        "n_cpu_moe": config.n_cpu_moe,
        "tensor_overrides": config.tensor_overrides,
        "load_mode": config.load_mode,
        "lazy_mode": config.lazy_mode,
        "repack": config.repack,
        "no_host": config.no_host,
        "host_memory": config.host_memory,
        "pin_budget": config.pin_budget,
        "split_mode": config.split_mode,
        "tensor_split": config.tensor_split,
        "context_bytes": () if config.tensor_split else context_bytes(config),
        "main_gpu": config.main_gpu,
        "kv_overrides": config.kv_overrides,
    }


def context_bytes(config: EngineConfig) -> tuple[float, ...]:
    """What the context will keep for each layer on its device, where there are several of them
    that share the layers; a sliding window's cells are left out."""
    if config.split_mode != "layer" or not config.offload_kqv:
        return ()
    if len(layer_devices(config.devices)) < 2:
        return ()
    file = open_model_file(config.model, config.kv_overrides)
    facts, costs = ModelFacts.of(file), client_costs(file.metadata)
    if costs is None:
        return ()
    n_sequences = config.n_parallel + n_prefixes(config, facts.n_ctx_train)
    cells = (config.n_ctx or facts.n_ctx_train) * (costs.cell_bytes(config.cache_type_k) or 0)
    states = n_sequences * costs.recurrent_bytes * (1 + config.n_draft)
    n_attending = sum(layer.attends for layer in facts.layers) or 1
    n_recurrent = sum(layer.is_recurrent for layer in facts.layers) or 1
    return tuple(
        layer.attends * cells / n_attending + layer.is_recurrent * states / n_recurrent
        for layer in facts.layers
    )


def context_options(config: EngineConfig, n_ctx_train: int) -> dict[str, Any]:
    """`Context`'s, by a configuration."""
    n_sequences = config.n_parallel + n_prefixes(config, n_ctx_train)
    threads, threads_batch = threads_of(config)
    return {
        "n_ctx": config.n_ctx,
        "n_parallel": n_sequences,
        "n_batch": max(config.n_batch, n_sequences),
        "n_ubatch": config.n_ubatch,
        "n_threads": config.n_threads,
        "n_threads_batch": config.n_threads_batch,
        "type_k": config.cache_type_k,
        "type_v": config.cache_type_v,
        "type_state": config.state_type,
        "flash_attn": config.flash_attn,
        "kv_unified": config.kv_unified,
        "swa_full": config.swa_full,
        "n_rs_seq": config.n_draft,
        "n_outputs_max": n_outputs(config, n_sequences),
        "moe_cache_bytes": config.moe_cache_mib * 2**20,
        "offload_kqv": config.offload_kqv,
        "op_offload": config.op_offload,
        "rope": rope_of(config),
        "threads": threads,
        "threads_batch": threads_batch,
    }


def n_outputs(config: EngineConfig, n_sequences: int) -> int:
    """Most rows with an output in a step."""
    n_sampled = config.n_parallel * (1 + config.n_draft)
    return max(n_sequences, n_sampled, config.n_batch if config.logits_all else 0)


def check_limits(context: Context, config: EngineConfig) -> None:
    """Hold what was allocated against the limits of a plan. Raises `ContextError`."""
    rows = context.memory().rows if config.memory_limits else ()
    for device, limit in config.memory_limits:
        used = sum(row.bytes for row in rows if row.device == device)
        if used > limit:
            raise ContextError(
                f"the buffers on {device} take {used} bytes, {used - limit} more than --vram "
                "leaves for them: please report this with the output of `pannier plan`"
            )


def warm_up(context: Context) -> None:
    """Compute one token and forget it: weights are read and kernels prepared."""
    if context.embeddings or not context.has_memory:
        return
    batch = Batch()
    batch.add(0, [max(context.model.bos, 0)], sample=False)
    context.step(batch)
    context.sequence(0).clear()


def make_embedding_context(model: Model, config: EngineConfig) -> Context:
    """The same for a server that embeds."""
    return model.context(strict=config.strict, **embedding_options(model, config))


def embedding_options(model: Model, config: EngineConfig) -> dict[str, Any]:
    """`Context`'s, for a server that embeds: a batch is one ubatch."""
    is_costly = model.is_recurrent or model.is_hybrid  # a sequence is a state
    n_at_once = config.n_parallel if is_costly else max(config.n_parallel, N_EMBEDDED)
    return {
        "n_ctx": config.n_ctx,
        "n_parallel": min(n_at_once, config.n_ubatch),  # each has a token in the batch
        "n_batch": config.n_ubatch,
        "n_ubatch": config.n_ubatch,
        "n_threads": config.n_threads,
        "n_threads_batch": config.n_threads_batch,
        "type_k": config.cache_type_k,
        "type_v": config.cache_type_v,
        "type_state": config.state_type,
        "flash_attn": config.flash_attn,
        "swa_full": config.swa_full,
        "embeddings": True,
        "pooling": config.pooling,
        "moe_cache_bytes": config.moe_cache_mib * 2**20,
    }


def n_prefixes(config: EngineConfig, n_ctx_train: int) -> int:
    """Sequences beside those of the slots. Each has a recurrent state, or cells for a sliding
    window, of its own: in all they may take as much as the cells of the KV cache."""
    most = MAX_SEQUENCES - config.n_parallel
    if not config.kv_unified:
        return 0
    if config.n_prefixes >= 0:
        return min(config.n_prefixes, most)
    costs = client_costs(open_model_file(config.model, config.kv_overrides).metadata)
    if costs is None:
        return min(config.n_parallel, most)
    cell_bytes = costs.cell_bytes() or 0
    recurrent_bytes = costs.recurrent_bytes * (1 + config.n_draft)
    state_bytes = recurrent_bytes + costs.window * (costs.window_cell_bytes() or 0)
    if state_bytes == 0:
        return min(N_FREE, most)
    affordable = (config.n_ctx or n_ctx_train) * cell_bytes // state_bytes
    return min(max(2, min(config.n_parallel + 8, affordable)), most)


def rope_of(config: EngineConfig) -> Rope | None:
    """How positions turn; None where nobody said."""
    rope = Rope(
        config.rope_scaling,
        config.rope_freq_base,
        config.rope_freq_scale,
        config.yarn_orig_ctx,
        config.yarn_ext_factor,
        config.yarn_attn_factor,
        config.yarn_beta_fast,
        config.yarn_beta_slow,
    )
    return None if rope == Rope() else rope


def threads_of(config: EngineConfig) -> tuple[CpuThreads | None, CpuThreads | None]:
    """Threads for single tokens and for prompts; None where nobody said."""
    one = CpuThreads(config.cpus, bool(config.cpu_strict), config.prio, config.poll)
    strict = config.cpu_strict if config.cpu_strict_batch is None else config.cpu_strict_batch
    poll = config.poll if config.poll_batch is None else config.poll_batch
    batch = CpuThreads(config.cpus_batch or config.cpus, bool(strict), config.prio_batch, poll)
    return (None, None) if (one, batch) == (CpuThreads(), CpuThreads()) else (one, batch)
