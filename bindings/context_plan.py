"""What a context would be and hold, told by the engine before any of it is allocated."""

from __future__ import annotations

from dataclasses import dataclass

from . import _ffi
from .memory import MemoryRow
from .native_rows import as_memory_row, memory_rows


@dataclass(frozen=True)
class ContextPlan:
    """A context that was built without memory. The figures are those of `Context`'s properties of
    the same names, and of the rows of its `memory()` when it has just been created."""

    rows: tuple[MemoryRow, ...]
    n_ctx: int
    n_ctx_seq: int
    n_batch: int
    n_ubatch: int
    n_parallel: int
    n_rs_seq: int
    kv_unified: bool
    kv_cell_bytes: int
    recurrent_seq_bytes: int
    window_seq_bytes: int

    def kind_bytes(self, kind: str) -> int:
        """Bytes of one kind over all devices."""
        return sum(row.bytes for row in self.rows if row.kind == kind)

    def device_bytes(self, device: str) -> int:
        """Bytes of all kinds on one device; "CPU" is system memory."""
        return sum(row.bytes for row in self.rows if row.device == device)


def plan_context(model: _ffi.Handle, params: _ffi.context_params) -> ContextPlan:
    """Build a context over a model loaded with `no_alloc`, ask it, and free it."""
    info = _ffi.context_info()
    function = _ffi.library().context_plan
    rows = memory_rows(function, model, _ffi.byref(params), _ffi.byref(info))
    return ContextPlan(
        rows=tuple(as_memory_row(row) for row in rows),
        n_ctx=info.n_ctx,
        n_ctx_seq=info.n_ctx_seq,
        n_batch=info.n_batch,
        n_ubatch=info.n_ubatch,
        n_parallel=info.n_seq_max,
        n_rs_seq=info.n_rs_seq,
        kv_unified=bool(info.kv_unified),
        kv_cell_bytes=info.kv_cell_bytes,
        recurrent_seq_bytes=info.recurrent_seq_bytes,
        window_seq_bytes=info.window_seq_bytes,
    )
