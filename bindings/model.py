"""A loaded model: its weights, and the contexts over it."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _ffi
from .adapter import Adapter
from .context import Context
from .context_params import native_context_params
from .context_plan import ContextPlan, plan_context
from .device import layer_devices
from .errors import LoadCancelled
from .gate import Gate
from .host_memory import HostMemory, HostPlan, host_memory, plan_host_memory
from .host_words import host_wish
from .layer_split import balanced_split
from .load_paging import page
from .load_placement import expert_rows
from .memory import TensorRow
from .model_params import LAZY_MODES, LOAD_MODES, SPLIT_MODES, ModelParams, choice
from .modelfile import open_model_file
from .modelfile.adapter import open_adapter_file
from .modelfile.overrides import Row
from .moe_room import check_cache
from .native_rows import tensor_rows
from .op_placement import Asked, PlacementReport
from .override_rows import OverrideRow, check_rows, named_rows, native_rows
from .paging import Paging
from .placement import Override
from .vocabulary import Vocabulary

if TYPE_CHECKING:
    from .pool import Pool

Progress = Callable[[float], "bool | None"]


class Model(Vocabulary):
    """A GGUF model in memory.

    Owns native memory: use it as a context manager, or call `close()`. Closing
    a model closes its contexts first. Methods may be called from any thread.

    Args:
        path: the GGUF file (the first one of a split set).
        n_gpu_layers: layers whose weights go to the devices; -1 is all.
        devices: device names to use; empty is all GPUs, `("none",)` is none.
        experts: "cpu" keeps all routed experts in CPU memory, "gpu" keeps them
            with their layer, "auto" is "gpu" if the whole model fits there with
            room to spare; "cpu:0-23" and "gpu:24-47" are by layer, and rows
            between "|" several of these. None does what the file says
            (`pannier.placement.*`), and "gpu" if it says nothing.
        n_cpu_moe: keep the experts of the first so many layers in CPU memory,
            whatever `experts` and the file say.
        tensor_overrides: rows of (tensor name regex, buffer type); the first
            matching row wins, and they come before `n_cpu_moe` and `experts`.
        lazy_mode: "on" reads rows of per-layer embeddings when they are needed,
            "auto" does so for tensors above 4 GiB, "off" never.
        repack: rearrange weights on the CPU for its kernels.
        no_host: no pinned host memory.
        host_memory: what weights in system memory lie in: "mmap", "lock",
            "pinned" or "copy", or by role, "experts=pinned,embedding=mmap".
            Such weights are not rearranged for the CPU's kernels. None leaves
            it to `load_mode`. What was obtained is in `Model.host_memory`.
        pin_budget: most bytes that "pinned" may pin, layer by layer; the rest
            is mapped.
        split_mode: how several devices share the model: "none" (one device,
            `main_gpu`), "layer", "row" or "tensor".
        tensor_split: shares of the devices; empty: runs of layers by their
            bytes, in proportion to what the devices have free.
        context_bytes: what contexts will keep for each layer; it counts where
            layers are split by their bytes.
        kv_overrides: rows of (metadata key, type, value as text) that count
            in place of the file's; types are int, float, bool and str.
        load_mode: "auto", "mmap", "mlock", "mmap+mlock", "direct-io" or "none".
        vocab_only: load no weights: tokenizer, metadata and template only.
        no_alloc: check the file against its architecture (every tensor's name
            and shape), allocate nothing and read no weight; `plan` says what a
            context would hold, and none can be made.
        check_tensors: look for NaN and other invalid values in the weights.
        progress: called with the fraction loaded, 0 to 1; returning False, or
            raising, cancels the load.

    Raises:
        ModelError: the file is missing, damaged or not supported.
        LoadCancelled: `progress` returned False.
        ArgumentError: an unknown device, buffer type or load mode; a row of
            `tensor_overrides`, `n_cpu_moe` or `experts` that matches no tensor,
            or whose tensors all go elsewhere by a row before it.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        n_gpu_layers: int = -1,
        devices: Sequence[str] = (),
        experts: str | None = None,
        n_cpu_moe: int = 0,
        tensor_overrides: Sequence[Override] = (),
        load_mode: str = "auto",
        lazy_mode: str = "auto",
        repack: bool = True,
        no_host: bool = False,
        host_memory: str | None = None,
        pin_budget: int | None = None,
        split_mode: str = "layer",
        tensor_split: Sequence[float] = (),
        context_bytes: Sequence[float] = (),
        main_gpu: int = 0,
        kv_overrides: Sequence[Row] = (),
        vocab_only: bool = False,
        no_alloc: bool = False,
        check_tensors: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self.path = Path(path)
        self._handle: _ffi.Handle | None = None
        self._lib = _ffi.library()
        self._contexts: weakref.WeakSet[Context] = weakref.WeakSet()
        self._pools: weakref.WeakSet[Pool] = weakref.WeakSet()
        self._lock = threading.Lock()
        self.gate = Gate(f"the model {self.path} is closed")
        self._pieces = {}
        self._file = open_model_file(path, kv_overrides)
        rows = named_rows(tensor_overrides) + expert_rows(self._file, experts, n_cpu_moe, devices)
        names = [tensor.name for tensor in self._file.tensors]
        self.override_rows: tuple[OverrideRow, ...] = tuple(rows)
        """Where tensors go that do not go with their layer; the first row that matches counts."""
        self.placement_notes = () if vocab_only else check_rows(rows, names)
        """Where two rows of the caller's disagree, in words."""
        self.n_overrides = len(tensor_overrides)
        self.devices = tuple(devices)
        self._params = ModelParams(devices, load_mode)
        params = self._params.native
        params.n_gpu_layers = n_gpu_layers
        params.lazy_mode = choice(LAZY_MODES, "lazy_mode", lazy_mode)
        params.no_repack = not repack
        params.no_host = no_host
        params.main_gpu = main_gpu
        params.split_mode = choice(SPLIT_MODES, "split_mode", split_mode)
        params.vocab_only = vocab_only
        params.no_alloc = no_alloc
        params.check_tensors = check_tensors
        if split_mode == "layer" and not tensor_split and not vocab_only:
            tensor_split = self._split(devices, n_gpu_layers, context_bytes)
        self.tensor_split = tuple(tensor_split)
        """Shares of the devices; empty: llama.cpp's own."""
        self._params.set_split(tensor_split)
        self._params.set_metadata(kv_overrides)
        self._params.set_overrides(native_rows(rows))
        self._host_plan = HostPlan()
        if host_memory and not vocab_only:
            self._choose_host_memory(host_memory, pin_budget)
        self.paging: Paging | None = None
        """Not None if the weights in system memory are more than there is room for."""
        if not vocab_only and not no_alloc:
            self.paging = page(self._file, params, load_mode, self._host_plan.locked_names)
        self._load(params, progress)
        self._locked = () if no_alloc or vocab_only else self._lock_weights()

    def _split(
        self, names: Sequence[str], n_gpu_layers: int, context_bytes: Sequence[float]
    ) -> tuple[float, ...]:
        """By bytes, where there are several devices."""
        used = layer_devices(names)
        free = {device.name: device.memory_free for device in used}
        if len(free) < 2 or not all(free.values()):
            return ()
        return balanced_split(self._file, self.override_rows, n_gpu_layers, free, context_bytes)

    def _choose_host_memory(self, words: str, pin_budget: int | None) -> None:
        """Rows for the weights that would be in system memory, told by a load without memory."""
        params = self._params.native
        wish = host_wish(words, pin_budget, params.load_mode, bool(params.no_host))
        params.load_mode = LOAD_MODES["mmap"]
        no_alloc, params.no_alloc = params.no_alloc, True
        self._load(params, None)
        self._host_plan = plan_host_memory(wish, pin_budget, tensor_rows(self.handle))
        self._free()
        params.no_alloc = no_alloc
        rows = native_rows(self.override_rows)
        self._params.set_overrides([*self._host_plan.overrides(), *rows])

    def _lock_weights(self) -> tuple[str, ...]:
        """Those that the system let us lock."""
        names, count = self._host_plan.locked_names, _ffi.int32()
        if names:
            array = _ffi.texts(names)
            self._lib.check(self._lib.model_lock(self.handle, array, len(names), _ffi.byref(count)))
        return tuple(names[: count.value])

    def _load(self, params: _ffi.model_params, progress: Progress | None) -> None:
        raised: list[BaseException] = []

        def report(fraction: float, _user: object) -> bool:
            # An exception cannot cross the C boundary: stop the load, raise it after.
            try:
                return progress is None or progress(fraction) is not False
            except BaseException as error:
                raised.append(error)
                return False

        params.progress = _ffi.PROGRESS_CALLBACK(report)
        handle = _ffi.Handle()
        try:
            self._lib.check(
                self._lib.model_load(os.fsencode(self.path), _ffi.byref(params), _ffi.byref(handle))
            )
        except LoadCancelled:
            if raised:
                raise raised[0] from None
            raise
        self._handle = handle

    def close(self) -> None:
        """Free the model and its contexts. Closing twice does nothing."""
        self.gate.shut()
        for pool in list(self._pools):
            pool.close()
        for context in list(self._contexts):
            context.close()
        self._free()

    def _free(self) -> None:
        with self._lock:
            handle, self._handle = self._handle, None
            if handle is not None:
                self._lib.model_free(handle)

    def add_adapter(self, path: str | os.PathLike[str]) -> Adapter:
        """Load a LoRA adapter, for `Context.set_adapters`.

        Raises ModelError for a file that is missing, damaged, or made for another model.
        """
        file = open_adapter_file(path, self._file)
        id = _ffi.int32()
        with self.gate:
            self._lib.check(
                self._lib.model_add_adapter(self.handle, os.fsencode(file.path), _ffi.byref(id))
            )
        return Adapter(id.value, file)

    def context(self, **options: Any) -> Context:
        """A context over this model; the options are those of `Context`."""
        with self.gate:
            context = Context(self, **options)
            self._contexts.add(context)
        return context

    def pool(self, **options: Any) -> Pool:
        """A context for many callers at once, from any thread. See `Pool`.

        The options are those fields of `EngineConfig` that say what a context is and how it is
        shared, as n_ctx, n_parallel, cache_type_k, moe_cache_mib or prefix_cache_dir. Raises
        ArgumentError for one that is the model's or that there is not.
        """
        from .pool import make_pool

        return make_pool(self, options)

    def add_pool(self, pool: Pool) -> None:
        """Close this pool before the model."""
        self._pools.add(pool)

    def plan(self, **options: Any) -> ContextPlan:
        """What a context with these options, those of `Context`, would be and hold.

        Nothing is allocated. Raises ContextError unless the model was loaded with `no_alloc`, or
        where llama.cpp cannot create the context, and ArgumentError for a value outside its range.
        """
        params, _keep_alive = native_context_params(**options)
        check_cache(self, params.moe_cache_bytes)
        return plan_context(self.handle, params)

    def placement(self, n_clients: int = 0, **options: Any) -> PlacementReport:
        """Where the ops of such a context's graphs would run: `Context.placement` before anything
        is allocated. Raises as `plan`."""
        params, _keep_alive = native_context_params(**options)
        check_cache(self, params.moe_cache_bytes)
        asked = Asked(params.type_k.decode(), params.type_v.decode(), self.n_overrides)
        text = self._lib.text(
            self._lib.context_plan_placement,
            self.handle,
            _ffi.byref(params),
            n_clients or params.n_seq_max,
        )
        return PlacementReport.from_json(text, asked)

    @cached_property
    def tensors(self) -> tuple[TensorRow, ...]:
        """Where every tensor is, or would be. One that is used twice can be there twice."""
        return tensor_rows(self.handle)

    @cached_property
    def host_memory(self) -> HostMemory:
        """What the weights in system memory lie in. A plan takes it that all can be locked."""
        locked = self._host_plan.locked_names if self._params.native.no_alloc else self._locked
        return host_memory(self.tensors, self._host_plan, locked)
