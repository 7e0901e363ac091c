"""A context: the KV cache and recurrent states of several sequences, and the step over them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from collections.abc import Sequence as Sequence_
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import _ffi
from .batch import Batch, StepResult
from .buffers import StepBuffers
from .context_params import native_context_params
from .embedding import POOLING, Rows, embed, normalized
from .errors import ArgumentError, ClosedError, PlacementError
from .ledger import CellBook, device_ledger, weights_by_role
from .memory import MemoryReport, SequenceMemory
from .moe_cache import MoeCache, moe_cache
from .native_rows import as_memory_row, cell_groups, memory_rows
from .op_placement import Asked, PlacementReport
from .owner import Owner
from .routes import Routes, take_routes
from .sampler import native_sampler
from .sampling import SamplingParams
from .sequence import Sequence

if TYPE_CHECKING:
    from .model import Model


class Context(Owner):
    """State of up to `n_parallel` sequences over one model.

    Owns native memory: use it as a context manager, or call `close()`. One
    thread at a time works in a context; a second one waits. `interrupt()` may
    be called from anywhere.

    Args:
        n_ctx: cells of the KV cache over all sequences; 0 takes the model's
            training context. llama.cpp rounds up to a multiple of 256.
        n_parallel: sequences, 1 to 256. Each holds one recurrent state.
        n_batch: most tokens in one step.
        n_ubatch: most tokens computed at once.
        n_threads, n_threads_batch: 0 is one per core.
        type_k, type_v: f32, f16, bf16, q8_0, q4_0, q4_1, iq4_nl, q5_0 or q5_1.
        type_state: of recurrent states: f32, or f16 or bf16 for models of the gated
            delta net (Qwen3Next, Qwen3.5, Kimi-Linear): half the bytes, see docs/memory.md.
        flash_attn: "auto", "on" or "off".
        kv_unified: one cache for all sequences, which can share cells, or one
            of n_ctx / n_parallel cells for each.
        n_rs_seq: tokens that a recurrent state can be rolled back, where the
            architecture supports it; each costs one more state per sequence.
        n_outputs_max: most rows with an output in one step; 0 is n_parallel.
        embeddings: the context is for `embed`, not for `step`. Then n_parallel is
            the most prompts, and n_ubatch the most tokens, computed at once;
            n_ubatch is rounded up to a multiple of the sequences.
        pooling: how a prompt's tokens become one embedding: "mean", "cls" (the
            first), "last", "rank" (a classification head's scores), "none", or
            "auto" for what the model file says.
        rope: how positions turn; None: as the model says.
        threads, threads_batch: CPUs and priority of the threads for single
            tokens and for prompts; without `threads` any, without
            `threads_batch` the same.
        routes: keep the experts that the router chooses, for `take_routes`.
        moe_cache_bytes: device memory for experts that live in CPU memory.
        strict: refuse what would not run, lie or be as asked for: see `placement`.

    Raises:
        PlacementError: with `strict`; the message names each op, its layers, the reason and what
            to do.
        ContextError: llama.cpp cannot create it; the message has its reason.
        ArgumentError: a value outside its range.
    """

    def __init__(self, model: Model, *, strict: bool = False, **options: Any) -> None:
        params, keep_alive = native_context_params(**options)
        self.model = model
        self._lib = _ffi.library()
        self._lock = threading.RLock()
        self._handle_lock = threading.Lock()  # `interrupt` cannot wait for a step to end
        self._handle: _ffi.Handle | None = None
        handle = _ffi.Handle()
        self._lib.check(
            self._lib.context_create(model.handle, _ffi.byref(params), _ffi.byref(handle))
        )
        del keep_alive  # the engine has copied it
        self._handle = handle
        info = _ffi.context_info()
        self._lib.check(self._lib.context_get_info(handle, _ffi.byref(info)))
        self._info = info
        self._buffers = StepBuffers(info.n_batch, min(info.n_outputs_max, info.n_batch))
        self._asked = Asked(params.type_k.decode(), params.type_v.decode(), model.n_overrides)
        self._strict = strict
        self._adapters: dict[int, float] = {}
        self._checked: set[frozenset[int]] = set()  # adapters whose graphs have been looked at
        try:
            self._check()
        except PlacementError:
            self.close()
            raise

    @property
    def handle(self) -> _ffi.Handle:
        """The native context. Raises ClosedError after `close()`."""
        if self._handle is None:
            raise ClosedError("the context is closed")
        return self._handle

    def close(self) -> None:
        """Free the context. Waits for a step in another thread; closing twice does nothing."""
        self.interrupt()
        with self._lock, self._handle_lock:
            handle, self._handle = self._handle, None
            if handle is not None:
                self._lib.context_free(handle)

    # ------------------------------------------------------------ facts

    @property
    def n_ctx(self) -> int:
        """Cells over all sequences, as created."""
        return int(self._info.n_ctx)

    @property
    def n_ctx_seq(self) -> int:
        """Most cells that one sequence can have."""
        return int(self._info.n_ctx_seq)

    @property
    def n_batch(self) -> int:
        return int(self._info.n_batch)

    @property
    def n_ubatch(self) -> int:
        return int(self._info.n_ubatch)

    @property
    def n_parallel(self) -> int:
        return int(self._info.n_seq_max)

    @property
    def n_rs_seq(self) -> int:
        """Tokens of rollback; 0 where the architecture has none, whatever was asked."""
        return int(self._info.n_rs_seq)

    @property
    def n_draft_max(self) -> int:
        """Most guessed tokens of a sequence in a step of at most n_ubatch tokens, all sequences
        in it having equally many where there is a recurrent state; 0: its state cannot go back."""
        return int(self._info.n_draft_max)

    @property
    def kv_unified(self) -> bool:
        return bool(self._info.kv_unified)

    @property
    def embeddings(self) -> bool:
        """Whether this context is for `embed`."""
        return bool(self._info.n_embd_out)

    @property
    def pooling(self) -> str:
        """How prompts are pooled, never "auto"."""
        return next(name for name, value in POOLING.items() if value == self._info.pooling)

    @property
    def n_embd_out(self) -> int:
        """Length of an embedding; 0 in a context that generates."""
        return int(self._info.n_embd_out)

    @property
    def n_embed_max(self) -> int:
        """Most tokens of a prompt to embed: a ubatch, or more where the prompt's last token alone
        counts and sees no later one. 0 in a context that generates."""
        return int(self._info.n_embed_max)

    @property
    def has_memory(self) -> bool:
        """Whether there are sequences; a model that only embeds keeps none."""
        return bool(self._info.has_memory)

    @property
    def has_recurrent(self) -> bool:
        return bool(self._info.has_recurrent)

    @property
    def kv_cell_bytes(self) -> int:
        """Bytes of one token's keys and values over all layers."""
        return int(self._info.kv_cell_bytes)

    @property
    def recurrent_seq_bytes(self) -> int:
        """Bytes of one sequence's recurrent state."""
        return int(self._info.recurrent_seq_bytes)

    @property
    def window_seq_bytes(self) -> int:
        """Bytes of one sequence's cells in sliding-window layers, at most; 0 without such."""
        return int(self._info.window_seq_bytes)

    @property
    def can_cut(self) -> bool:
        """Whether a sequence can lose any part of its end: neither a recurrent state nor a sliding
        window has moved on."""
        return bool(self._info.can_cut)

    @property
    def graphs_reused(self) -> int:
        """How often llama.cpp reused its compute graph."""
        return int(self._lib.context_graphs_reused(self.handle))

    # ------------------------------------------------------------ work

    def sequence(self, seq_id: int) -> Sequence:
        """Sequence `seq_id`, 0 to n_parallel - 1. Raises ArgumentError outside that range."""
        if not 0 <= seq_id < self.n_parallel:
            raise ArgumentError(
                f"sequence {seq_id} does not exist: this context has 0 to {self.n_parallel - 1}"
            )
        return Sequence(self, seq_id)

    def call(self, name: str, *args: Any) -> None:
        """Call a native function with this context as its first argument, alone in it."""
        with self._lock:
            self._lib.check(getattr(self._lib, name)(self.handle, *args))

    def set_sampler(
        self,
        seq_id: int,
        params: SamplingParams,
        history: list[int] | None = None,
        n_probs: int = 0,
        n_generated: int = 0,
    ) -> None:
        """Give a sequence a new sampler.

        Args:
            history: tokens that the penalties know of, usually the prompt.
            n_probs: alternatives to report with each token.
            n_generated: how many tokens at the end of `history` count as sampled: a
                grammar has to accept them.

        Raises ArgumentError for a value or grammar that llama.cpp cannot take.
        """
        raw, _keep_alive = native_sampler(params, n_probs)
        tokens = history or []
        self.call(
            "sampler_set", seq_id, _ffi.byref(raw), _ffi.int32s(tokens), len(tokens), n_generated
        )

    def set_adapters(self, scales: Mapping[int, float]) -> None:
        """From the next step on compute with these of the model's adapters, and no others.

        What the sequences hold stays as it was computed. llama.cpp prepares its graphs anew, which
        takes about as long as creating the context.

        Args:
            scales: by `Adapter.id`; 0 leaves one out.

        Raises ArgumentError for an adapter that is not there, or a scale that is no number, and
        PlacementError in a strict context whose ops would run elsewhere with them.
        """
        before = self._adapters
        self._set_adapters(scales)
        try:
            self._check()
        except PlacementError:
            self._set_adapters(before)
            raise

    def _set_adapters(self, scales: Mapping[int, float]) -> None:
        ids = _ffi.int32s(list(scales))
        self.call("context_set_adapters", ids, _ffi.float32s(list(scales.values())), len(scales))
        self._adapters = dict(scales)

    def clear_sampler(self, seq_id: int) -> None:
        """Take a sequence's sampler away."""
        self.call("sampler_clear", seq_id)

    def step(self, batch: Batch, n_top: int = 0) -> StepResult:
        """Decode a batch and sample every row that asks for it, in one native call.

        Args:
            n_top: alternatives to keep of those that the samplers report.

        Raises:
            ArgumentError: a token, sequence or size that the context cannot take.
            CacheFull: no free KV cells; the memory is as it was.
            DecodeError: compute failed or was interrupted; every sequence of the
                batch is empty now.
        """
        n_top = min(n_top, self.model.n_vocab)  # there are no more, whatever a client asks for
        with self._lock:
            raw_batch, raw_step = self._buffers.fill(batch, n_top)
            self._lib.check(
                self._lib.context_step(self.handle, _ffi.byref(raw_batch), _ffi.byref(raw_step))
            )
            return self._buffers.read(batch, raw_step)

    def embed(
        self, prompts: Sequence_[Sequence_[int]], *, normalize: bool = True
    ) -> Rows | list[Rows]:
        """Embeddings of prompts given as tokens, special ones included as the model wants them.

        Args:
            normalize: rows of length 1, but for "rank" and "none".

        Returns float32 [n_prompts, n_embd_out]; with pooling "none" a list of [n_tokens,
        n_embd_out]. A prompt's row depends on what it is batched with by rounding only.

        Raises:
            ArgumentError: a prompt is empty, or longer than `n_embed_max` or the model allows, or
                the context was created without `embeddings`.
            DecodeError: compute failed or was interrupted.
        """
        rows = embed(self, prompts)
        if isinstance(rows, list) or not normalize or self.pooling == "rank":
            return rows
        return normalized(rows)

    def interrupt(self) -> None:
        """Make a step that runs in another thread end with DecodeError."""
        with self._handle_lock:
            if self._handle is not None:
                self._lib.context_interrupt(self._handle)

    def logits(self, row: int) -> npt.NDArray[np.float32]:
        """Logits after one row of the last step's batch, [n_vocab] float32, a copy."""
        out = np.empty(self.model.n_vocab, dtype=np.float32)
        pointer = _ffi.float32_pointer(out.ctypes.data)
        self.call("context_logits", row, pointer, len(out))
        return out

    # ------------------------------------------------------------ experts

    def take_routes(self) -> list[Routes]:
        """The experts that the router chose in the ubatches computed since the last call, in the
        order in which they were computed; empty in a context created without `routes`.

        They pile up until they are taken: n_tokens * n_layers * n_expert_used numbers of 4 bytes.
        """
        with self._lock:
            return take_routes(self.handle)

    def moe_cache(self) -> MoeCache | None:
        """What the cache of experts did since the context was created; None if there is none.

        Raises ArgumentError with an unpatched engine.
        """
        with self._lock:
            return moe_cache(self.handle)

    # ------------------------------------------------------------ placement

    def placement(self, n_clients: int = 0) -> PlacementReport:
        """Where the ops of this context's graphs run, and what does not run where it should.

        Builds the graphs and computes nothing; sequences stay as they are.

        Args:
            n_clients: sequences that decode at once; 0 is all.
        """
        with self._lock:
            text = self._lib.text(
                self._lib.context_placement, self.handle, n_clients or self.n_parallel
            )
        return PlacementReport.from_json(text, self._asked)

    def _check(self) -> None:
        """Graphs change with the set of adapters, not with their scales."""
        adapters = frozenset(id for id, scale in self._adapters.items() if scale)
        if self._strict and adapters not in self._checked:
            self.placement().check()
            self._checked.add(adapters)

    # ------------------------------------------------------------ memory

    def memory(self) -> MemoryReport:
        """What this context and its model hold now, measured by the engine."""
        with self._lock:
            rows = tuple(map(as_memory_row, memory_rows(self._lib.context_memory, self.handle)))
            recorded = memory_rows(self._lib.allocations) if self._has_record() else []
            cells = cell_groups(self.handle)
            book = CellBook(cells, self.n_rs_seq)
            n_sequences = self.n_parallel if self.has_memory else 0
            sequences = tuple(book.of(i, self.sequence(i).range()) for i in range(n_sequences))
        by_device: Counter[str] = Counter()
        for row in recorded:
            by_device[row.device.decode()] += row.bytes
        return MemoryReport(
            rows=rows,
            sequences=sequences,
            allocated=tuple((row.buffer_type.decode(), row.bytes) for row in recorded),
            cells=cells,
            devices=device_ledger(rows, by_device, weights_by_role(self.model.tensors, rows)),
        )

    def sequence_memory(self, *seq_ids: int) -> list[SequenceMemory]:
        """What these sequences hold now, by one look at all cells."""
        with self._lock:
            book = CellBook(cell_groups(self.handle), self.n_rs_seq)
            return [book.of(seq_id, self.sequence(seq_id).range()) for seq_id in seq_ids]

    def _has_record(self) -> bool:
        count = _ffi.int32()
        return not self._lib.allocations(None, 0, _ffi.byref(count))
