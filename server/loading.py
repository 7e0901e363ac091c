"""From a configuration to a model and a context in this process."""

from __future__ import annotations

from ..context import Context
from ..model import Model, Progress
from .config import EngineConfig


def load_model(config: EngineConfig, progress: Progress | None = None) -> Model:
    """The configuration's model, placed as it says. Raises `ModelError`."""
    return Model(
        config.model,
        n_gpu_layers=config.n_gpu_layers,
        devices=config.devices,
        experts=config.experts,
        n_cpu_moe=config.n_cpu_moe,
        tensor_overrides=config.tensor_overrides,
        load_mode=config.load_mode,
        progress=progress,
    )


def make_context(model: Model, config: EngineConfig) -> Context:
    """The context of a configuration over its model. Raises `ContextError`."""
    return model.context(
        n_ctx=config.n_ctx,
        n_parallel=config.n_parallel,
        n_batch=max(config.n_batch, config.n_parallel),
        n_ubatch=config.n_ubatch,
        n_threads=config.n_threads,
        n_threads_batch=config.n_threads_batch,
        type_k=config.cache_type_k,
        type_v=config.cache_type_v,
        flash_attn=config.flash_attn,
        kv_unified=config.kv_unified,
        swa_full=config.swa_full,
        moe_cache_bytes=config.moe_cache_mib * 2**20,
    )
