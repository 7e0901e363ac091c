"""From a configuration to a model and a context in this process."""

from __future__ import annotations

from typing import Any

from ..context import Context
from ..errors import ContextError
from ..model import Model, Progress
from ..modelfile import open_model_file
from ..modelfile.costs import client_costs
from .config import EngineConfig

MAX_SEQUENCES = 256
N_FREE = 16
"""Sequences for prefixes where they cost nothing but cells."""


def load_model(config: EngineConfig, progress: Progress | None = None) -> Model:
    """The configuration's model, placed as it says. Raises `ModelError`."""
    return Model(**model_options(config), progress=progress)


def make_context(model: Model, config: EngineConfig) -> Context:
    """The context of a configuration over its model. Raises `ContextError`."""
    return model.context(**context_options(config, model.n_ctx_train))


def check_limits(context: Context, config: EngineConfig) -> None:
    """Hold what was allocated against the limits of a plan. Raises `ContextError`."""
    rows = context.memory().rows
    for device, limit in config.memory_limits:
        used = sum(row.bytes for row in rows if row.device == device)
        if used > limit:
            raise ContextError(
                f"the buffers on {device} take {used} bytes, {used - limit} more than --vram "
                "leaves for them: please report this with the output of `pannier plan`"
            )


def model_options(config: EngineConfig) -> dict[str, Any]:
    """`Model`'s, by a configuration."""
    return {
        "path": config.model,
        "n_gpu_layers": config.n_gpu_layers,
        "devices": config.devices,
        "tensor_split": config.tensor_split,
        "experts": config.experts,
        "n_cpu_moe": config.n_cpu_moe,
        "tensor_overrides": config.tensor_overrides,
        "load_mode": config.load_mode,
    }


def context_options(config: EngineConfig, n_ctx_train: int) -> dict[str, Any]:
    """`Context`'s, by a configuration."""
    n_sequences = config.n_parallel + n_prefixes(config, n_ctx_train)
    return {
        "n_ctx": config.n_ctx,
        "n_parallel": n_sequences,
        "n_batch": max(config.n_batch, n_sequences),
        "n_ubatch": config.n_ubatch,
        "n_threads": config.n_threads,
        "n_threads_batch": config.n_threads_batch,
        "type_k": config.cache_type_k,
        "type_v": config.cache_type_v,
        "flash_attn": config.flash_attn,
        "kv_unified": config.kv_unified,
        "swa_full": config.swa_full,
        "n_rs_seq": config.n_draft,
        "n_outputs_max": max(n_sequences, config.n_parallel * (1 + config.n_draft)),
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
    costs = client_costs(open_model_file(config.model).metadata)
    if costs is None:
        return min(config.n_parallel, most)
    cell_bytes = costs.cell_bytes() or 0
    recurrent_bytes = costs.recurrent_bytes * (1 + config.n_draft)
    state_bytes = recurrent_bytes + costs.window * (costs.window_cell_bytes() or 0)
    if state_bytes == 0:
        return min(N_FREE, most)
    affordable = (config.n_ctx or n_ctx_train) * cell_bytes // state_bytes
    return min(max(2, min(config.n_parallel + 8, affordable)), most)
