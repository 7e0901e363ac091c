"""What a context is made with, checked and in the engine's form."""

from __future__ import annotations

from . import _ffi
from .cores import physical_cores
from .cpu_threads import CpuThreads
from .embedding import POOLING
from .errors import ArgumentError
from .rope import Rope

FLASH_ATTN = {"auto": -1, "off": 0, "on": 1}
UINT32_MAX = 2**32 - 1


def native_context_params(
    *,
    n_ctx: int = 0,
    n_parallel: int = 1,
    n_batch: int = 2048,
    n_ubatch: int = 512,
    n_threads: int = 0,
    n_threads_batch: int = 0,
    type_k: str = "f16",
    type_v: str = "f16",
    type_state: str = "f32",
    flash_attn: str = "auto",
    kv_unified: bool = True,
    swa_full: bool = False,
    n_rs_seq: int = 0,
    n_outputs_max: int = 0,
    embeddings: bool = False,
    pooling: str = "auto",
    offload_kqv: bool = True,
    op_offload: bool = True,
    routes: bool = False,
    moe_cache_bytes: int = 0,
    rope: Rope | None = None,
    threads: CpuThreads | None = None,
    threads_batch: CpuThreads | None = None,
) -> tuple[_ffi.context_params, list[_ffi.Struct]]:
    """The options of `Context`, with its defaults, and what has to live until it is created.

    Raises ArgumentError for a value that cannot be.
    """
    if pooling not in POOLING:
        raise ArgumentError(f"pooling is {pooling!r}; it must be one of {', '.join(POOLING)}")
    if flash_attn not in FLASH_ATTN:
        raise ArgumentError(f"flash_attn is {flash_attn!r}; it must be auto, on or off")
    n_threads = n_threads or physical_cores()
    sizes = {
        "n_ctx": n_ctx,
        "n_batch": n_batch,
        "n_ubatch": min(n_ubatch, n_batch),
        "n_seq_max": n_parallel,
        "n_rs_seq": n_rs_seq,
        "n_outputs_max": n_outputs_max or n_parallel,
        "n_threads": n_threads,
        "n_threads_batch": n_threads_batch or n_threads,
    }
    for name, value in sizes.items():
        if not 0 <= value <= UINT32_MAX:
            raise ArgumentError(f"{name} is {value}; it must be 0 to {UINT32_MAX}")
    params = _ffi.context_params(
        **sizes,
        type_k=type_k.encode(),
        type_v=type_v.encode(),
        type_state=type_state.encode(),
        flash_attn=FLASH_ATTN[flash_attn],
        offload_kqv=offload_kqv,
        op_offload=op_offload,
        swa_full=swa_full,
        kv_unified=kv_unified,
        embeddings=embeddings,
        pooling=POOLING[pooling],
        routes=routes,
        moe_cache_bytes=moe_cache_bytes,
    )
    return params, _set_parts(params, rope, threads, threads_batch)


def _set_parts(
    params: _ffi.context_params,
    rope: Rope | None,
    threads: CpuThreads | None,
    threads_batch: CpuThreads | None,
) -> list[_ffi.Struct]:
    """Returns what has to live until the context is created."""
    parts: list[_ffi.Struct] = []
    if rope is not None:
        parts.append(native_rope := rope.native())
        params.rope = _ffi.pointer(native_rope)
    if threads is not None:
        one, batch = threads.native(), (threads_batch or threads).native()
        params.threads, params.threads_batch = _ffi.pointer(one), _ffi.pointer(batch)
        parts += [one, batch]
    return parts
