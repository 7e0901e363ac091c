"""pannier.h in ctypes. No other module knows ctypes.

Names are the C names without the `pannier_` prefix. One process loads one
engine, at the first use; `load()` chooses it. `check()` is the one place where
a status becomes an exception.
"""

from __future__ import annotations

import ctypes as c
import threading
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import errors

ABI_VERSION = 1

OUTPUT_NONE, OUTPUT_SAMPLE, OUTPUT_LOGITS, OUTPUT_DRAFT = 0, 1, 2, 3

LOG_CALLBACK = c.CFUNCTYPE(None, c.c_int, c.c_char_p, c.c_void_p)
PROGRESS_CALLBACK = c.CFUNCTYPE(c.c_bool, c.c_float, c.c_void_p)

_I32P = c.POINTER(c.c_int32)
_I64P = c.POINTER(c.c_int64)
_F32P = c.POINTER(c.c_float)
_TEXTS = c.POINTER(c.c_char_p)


class int32_arg(c.c_int32):
    """An int32 argument. ctypes would cut a larger number down to its low bits."""

    @classmethod
    def from_param(cls, value: int) -> c.c_int32:
        number = c.c_int32(value)
        if number.value != value:
            raise errors.ArgumentError(f"{value} is no 32-bit number")
        return number


class Struct(c.Structure):
    """A struct of pannier.h: its first field is its own size.

    Raises ArgumentError for an integer that its field cannot hold.
    """

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(size=c.sizeof(self), **values)
        except TypeError as error:
            raise errors.ArgumentError(f"a value of the wrong type: {error}") from None
        for name, value in values.items():
            if isinstance(value, int) and getattr(self, name) != value:
                raise errors.ArgumentError(f"{name} is {value}, which is out of range")


class device(Struct):
    _fields_ = [
        ("size", c.c_size_t),
        ("name", c.c_char_p),
        ("description", c.c_char_p),
        ("backend", c.c_char_p),
        ("type", c.c_int32),
        ("id", c.c_char_p),
        ("memory_total", c.c_uint64),
        ("memory_free", c.c_uint64),
        ("process_bytes", c.c_int64),
        ("allocated_bytes", c.c_int64),
    ]


class model_params(Struct):
    _fields_ = [
        ("size", c.c_size_t),
        ("n_gpu_layers", c.c_int32),
        ("load_mode", c.c_int32),
        ("vocab_only", c.c_int32),
        ("no_alloc", c.c_int32),
        ("check_tensors", c.c_int32),
        ("n_devices", c.c_int32),
        ("devices", _TEXTS),
        ("n_overrides", c.c_int32),
        ("override_patterns", _TEXTS),
        ("override_buffers", _TEXTS),
        ("split_mode", c.c_int32),
        ("main_gpu", c.c_int32),
        ("n_tensor_split", c.c_int32),
        ("tensor_split", c.POINTER(c.c_float)),
        ("lazy_mode", c.c_int32),
        ("no_repack", c.c_int32),
        ("no_host", c.c_int32),
        ("read_ahead", c.c_int32),
        ("n_kv_overrides", c.c_int32),
        ("kv_keys", _TEXTS),
        ("kv_types", _TEXTS),
        ("kv_values", _TEXTS),
        ("progress", PROGRESS_CALLBACK),
        ("progress_user", c.c_void_p),
    ]


class model_info(Struct):
    _fields_ = [
        ("size", c.c_size_t),
        ("size_bytes", c.c_uint64),
        ("n_params", c.c_uint64),
        ("ftype", c.c_char_p),
        ("n_vocab", c.c_int32),
        ("n_ctx_train", c.c_int32),
        ("n_embd", c.c_int32),
        ("n_layer", c.c_int32),
        ("bos", c.c_int32),
        ("eos", c.c_int32),
        ("sep", c.c_int32),
        ("fim_pre", c.c_int32),
        ("fim_suf", c.c_int32),
        ("fim_mid", c.c_int32),
        ("fim_rep", c.c_int32),
        ("fim_sep", c.c_int32),
        ("add_bos", c.c_int32),
        ("add_eos", c.c_int32),
        ("add_sep", c.c_int32),
        ("is_recurrent", c.c_int32),
        ("is_hybrid", c.c_int32),
        ("has_encoder", c.c_int32),
        ("has_decoder", c.c_int32),
    ]


class tensor_row(Struct):
    _fields_ = [
        ("size", c.c_size_t),
        ("name", c.c_char_p),
        ("device", c.c_char_p),
        ("buffer_type", c.c_char_p),
        ("is_host", c.c_int32),
        ("bytes", c.c_uint64),
    ]


class thread_params(Struct):
    _fields_ = [
        ("size", c.c_size_t),
        ("n_cpus", c.c_int32),
        ("cpus", c.POINTER(c.c_int32)),
        ("strict", c.c_int32),
        ("priority", c.c_int32),
        ("poll", c.c_int32),
    ]


class rope_params(Struct):
    _fields_ = [
        ("size", c.c_size_t),
        ("scaling", c.c_int32),
        ("freq_base", c.c_float),
        ("freq_scale", c.c_float),
        ("yarn_orig_ctx", c.c_uint32),
        ("yarn_ext_factor", c.c_float),
        ("yarn_attn_factor", c.c_float),
        ("yarn_beta_fast", c.c_float),
        ("yarn_beta_slow", c.c_float),
    ]


class context_params(Struct):
    _fields_ = [
        ("size", c.c_size_t),
        ("n_ctx", c.c_uint32),
        ("n_batch", c.c_uint32),
        ("n_ubatch", c.c_uint32),
        ("n_seq_max", c.c_uint32),
        ("n_rs_seq", c.c_uint32),
        ("n_outputs_max", c.c_uint32),
        ("n_threads", c.c_int32),
        ("n_threads_batch", c.c_int32),
        ("type_k", c.c_char_p),
        ("type_v", c.c_char_p),
        ("type_state", c.c_char_p),
        ("flash_attn", c.c_int32),
        ("offload_kqv", c.c_int32),
        ("op_offload", c.c_int32),
        ("swa_full", c.c_int32),
        ("kv_unified", c.c_int32),
        ("embeddings", c.c_int32),
        ("pooling", c.c_int32),
        ("routes", c.c_int32),
        ("moe_cache_bytes", c.c_uint64),
        ("rope", c.POINTER(rope_params)),
        ("threads", c.POINTER(thread_params)),
        ("threads_batch", c.POINTER(thread_params)),
    ]


class context_info(Struct):
    _fields_ = [
        ("size", c.c_size_t),
        ("n_ctx", c.c_uint32),
        ("n_ctx_seq", c.c_uint32),
        ("n_batch", c.c_uint32),
        ("n_ubatch", c.c_uint32),
        ("n_seq_max", c.c_uint32),
        ("n_rs_seq", c.c_uint32),
        ("n_outputs_max", c.c_uint32),
        ("kv_unified", c.c_int32),
        ("pooling", c.c_int32),
        ("n_embd_out", c.c_int32),
        ("n_embed_max", c.c_int32),
        ("has_memory", c.c_int32),
        ("has_kv", c.c_int32),
        ("has_recurrent", c.c_int32),
        ("kv_cell_bytes", c.c_uint64),
        ("recurrent_seq_bytes", c.c_uint64),
        ("window_seq_bytes", c.c_uint64),
        ("can_cut", c.c_int32),
        ("n_draft_max", c.c_int32),
    ]


class batch(Struct):
    _fields_ = [
        ("size", c.c_size_t),
        ("n_tokens", c.c_int32),
        ("tokens", _I32P),
        ("seq_ids", _I32P),
        ("outputs", c.POINTER(c.c_int8)),
    ]


class step(Struct):
    _fields_ = [
        ("size", c.c_size_t),
        ("capacity", c.c_int32),
        ("n_top", c.c_int32),
        ("n_sampled", c.c_int32),
        ("rows", _I32P),
        ("tokens", _I32P),
        ("logprobs", _F32P),
        ("top_tokens", _I32P),
        ("top_logprobs", _F32P),
        ("n_lost", c.c_int32),
        ("lost", _I32P),
        ("decode_us", c.c_int64),
        ("sample_us", c.c_int64),
    ]


class cell_group(Struct):
    _fields_ = [
        ("size", c.c_size_t),
        ("kind", c.c_int32),
        ("n_holders", c.c_int32),
        ("first_holder", c.c_int32),
        ("n_cells", c.c_uint64),
        ("cell_bytes", c.c_uint64),
    ]


class sampler_params(Struct):
    _fields_ = [
        ("size", c.c_size_t),
        ("seed", c.c_uint32),
        ("temperature", c.c_float),
        ("top_k", c.c_int32),
        ("top_p", c.c_float),
        ("min_p", c.c_float),
        ("typical_p", c.c_float),
        ("top_n_sigma", c.c_float),
        ("xtc_probability", c.c_float),
        ("xtc_threshold", c.c_float),
        ("dynatemp_range", c.c_float),
        ("dynatemp_exponent", c.c_float),
        ("repeat_last_n", c.c_int32),
        ("repeat_penalty", c.c_float),
        ("frequency_penalty", c.c_float),
        ("presence_penalty", c.c_float),
        ("dry_multiplier", c.c_float),
        ("dry_base", c.c_float),
        ("dry_allowed_length", c.c_int32),
        ("dry_penalty_last_n", c.c_int32),
        ("mirostat", c.c_int32),
        ("mirostat_tau", c.c_float),
        ("mirostat_eta", c.c_float),
        ("adaptive_target", c.c_float),
        ("adaptive_decay", c.c_float),
        ("min_keep", c.c_int32),
        ("ignore_eos", c.c_int32),
        ("n_probs", c.c_int32),
        ("post_sampling_probs", c.c_int32),
        ("n_dry_sequence_breakers", c.c_int32),
        ("dry_sequence_breakers", _TEXTS),
        ("n_samplers", c.c_int32),
        ("samplers", _TEXTS),
        ("n_logit_bias", c.c_int32),
        ("logit_bias_tokens", _I32P),
        ("logit_bias_values", _F32P),
        ("grammar", c.c_char_p),
        ("grammar_type", c.c_int32),
        ("grammar_lazy", c.c_int32),
        ("n_triggers", c.c_int32),
        ("trigger_types", _I32P),
        ("trigger_values", _TEXTS),
        ("trigger_tokens", _I32P),
        ("generation_prompt", c.c_char_p),
        ("reasoning_budget", c.c_int32),
        ("reasoning_start", c.c_char_p),
        ("n_reasoning_ends", c.c_int32),
        ("reasoning_ends", _TEXTS),
        ("reasoning_message", c.c_char_p),
    ]


class moe_layer(Struct):
    _fields_ = [
        ("size", c.c_size_t),
        ("layer", c.c_int32),
        ("group", c.c_int32),
        ("n_slots", c.c_int32),
        ("device", c.c_char_p),
        ("expert_bytes", c.c_uint64),
        ("n_ubatches", c.c_uint64),
        ("n_hits", c.c_uint64),
        ("n_misses", c.c_uint64),
        ("upload_bytes", c.c_uint64),
        ("n_copied", c.c_uint64),
        ("copied_bytes", c.c_uint64),
        ("wait_us", c.c_int64),
        ("upload_us", c.c_int64),
    ]


class memory_row(Struct):
    _fields_ = [
        ("size", c.c_size_t),
        ("device", c.c_char_p),
        ("buffer_type", c.c_char_p),
        ("is_host", c.c_int32),
        ("kind", c.c_int32),
        ("bytes", c.c_uint64),
    ]


class rate_params(Struct):
    _fields_ = [
        ("size", c.c_size_t),
        ("device", c.c_int32),
        ("rate", c.c_int32),
        ("type", c.c_char_p),
        ("n_bytes", c.c_uint64),
        ("block_bytes", c.c_uint64),
        ("n_threads", c.c_int32),
        ("seconds", c.c_float),
    ]


class quant_model(Struct):
    _fields_ = [
        ("size", c.c_size_t),
        ("architecture", c.c_char_p),
        ("n_layer", c.c_int32),
        ("n_embd", c.c_int32),
        ("n_ff", c.c_int32),
        ("n_head", c.c_int32),
        ("n_head_kv", c.c_int32),
        ("n_expert", c.c_int32),
        ("n_embd_head_k", c.c_int32),
        ("n_embd_head_v", c.c_int32),
    ]


class quant_recipe(Struct):
    _fields_ = [
        ("size", c.c_size_t),
        ("ftype", c.c_int32),
        ("has_imatrix", c.c_int32),
        ("pure", c.c_int32),
        ("output_type", c.c_char_p),
        ("token_embedding_type", c.c_char_p),
        ("n_overrides", c.c_int32),
        ("override_patterns", _TEXTS),
        ("override_types", _TEXTS),
    ]


class quant_tensor(Struct):
    _fields_ = [
        ("size", c.c_size_t),
        ("name", c.c_char_p),
        ("type", c.c_char_p),
        ("ne0", c.c_int64),
        ("ne1", c.c_int64),
        ("ne2", c.c_int64),
        ("ne3", c.c_int64),
        ("target", c.c_char_p),
        ("allowed", c.c_int32),
        ("needs_imatrix", c.c_int32),
    ]


# (name, restype, argtypes): every function of pannier.h. A status is c_int.
_HANDLE = c.c_void_p
_OUT_TEXT = c.POINTER(c.c_void_p)
PROTOTYPES: list[tuple[str, Any, list[Any]]] = [
    ("abi_version", c.c_int, []),
    ("last_error", c.c_char_p, []),
    ("build_info", c.c_char_p, []),
    ("text_free", None, [c.c_void_p]),
    ("log_set", None, [LOG_CALLBACK, c.c_void_p]),
    ("numa_init", c.c_int, [int32_arg]),
    ("device_count", c.c_int32, []),
    ("device_get", c.c_int, [int32_arg, c.POINTER(device)]),
    ("model_load", c.c_int, [c.c_char_p, c.POINTER(model_params), c.POINTER(_HANDLE)]),
    ("model_free", None, [_HANDLE]),
    ("model_get_info", c.c_int, [_HANDLE, c.POINTER(model_info)]),
    ("model_description", c.c_int, [_HANDLE, _OUT_TEXT]),
    ("model_tensors", c.c_int, [_HANDLE, c.POINTER(tensor_row), int32_arg, _I32P]),
    ("match_names", c.c_int, [c.c_char_p, _TEXTS, int32_arg, c.POINTER(c.c_int8)]),
    ("model_lock", c.c_int, [_HANDLE, _TEXTS, int32_arg, _I32P]),
    ("model_metadata", c.c_int, [_HANDLE, _OUT_TEXT]),
    ("model_add_adapter", c.c_int, [_HANDLE, c.c_char_p, _I32P]),
    (
        "tokenize",
        c.c_int,
        [_HANDLE, c.c_char_p, int32_arg, int32_arg, int32_arg, _I32P, int32_arg, _I32P],
    ),
    ("token_piece", c.c_int, [_HANDLE, int32_arg, int32_arg, c.c_char_p, int32_arg, _I32P]),
    (
        "detokenize",
        c.c_int,
        [_HANDLE, _I32P, int32_arg, int32_arg, int32_arg, c.c_char_p, int32_arg, _I32P],
    ),
    ("token_is_eog", c.c_int32, [_HANDLE, int32_arg]),
    ("chat_set_template", c.c_int, [_HANDLE, c.c_char_p]),
    ("chat_facts", c.c_int, [_HANDLE, _OUT_TEXT]),
    ("chat_apply", c.c_int, [_HANDLE, c.c_char_p, _OUT_TEXT, c.POINTER(_HANDLE)]),
    ("chat_parser_copy", c.c_int, [_HANDLE, c.POINTER(_HANDLE)]),
    ("chat_parser_free", None, [_HANDLE]),
    (
        "chat_parse",
        c.c_int,
        [_HANDLE, c.c_char_p, int32_arg, _I32P, _I32P, int32_arg, int32_arg, _OUT_TEXT],
    ),
    ("json_schema_to_grammar", c.c_int, [c.c_char_p, _OUT_TEXT]),
    ("context_create", c.c_int, [_HANDLE, c.POINTER(context_params), c.POINTER(_HANDLE)]),
    ("context_free", None, [_HANDLE]),
    ("context_get_info", c.c_int, [_HANDLE, c.POINTER(context_info)]),
    ("context_interrupt", None, [_HANDLE]),
    ("context_set_adapters", c.c_int, [_HANDLE, _I32P, _F32P, int32_arg]),
    ("context_embed", c.c_int, [_HANDLE, _I32P, _I32P, int32_arg, _F32P, c.c_size_t]),
    ("context_step", c.c_int, [_HANDLE, c.POINTER(batch), c.POINTER(step)]),
    ("context_logits", c.c_int, [_HANDLE, int32_arg, _F32P, int32_arg]),
    ("context_graphs_reused", c.c_int64, [_HANDLE]),
    ("seq_remove", c.c_int, [_HANDLE, int32_arg, int32_arg, int32_arg, _I32P]),
    ("seq_copy", c.c_int, [_HANDLE, int32_arg, int32_arg]),
    ("seq_get_range", c.c_int, [_HANDLE, int32_arg, _I32P, _I32P]),
    ("seq_save", c.c_int, [_HANDLE, int32_arg, c.c_void_p, c.c_size_t, c.POINTER(c.c_size_t)]),
    ("seq_load", c.c_int, [_HANDLE, int32_arg, c.c_char_p, c.c_size_t]),
    (
        "sampler_set",
        c.c_int,
        [_HANDLE, int32_arg, c.POINTER(sampler_params), _I32P, int32_arg, int32_arg],
    ),
    ("sampler_clear", c.c_int, [_HANDLE, int32_arg]),
    (
        "sampler_create",
        c.c_int,
        [_HANDLE, c.POINTER(sampler_params), int32_arg, c.POINTER(_HANDLE)],
    ),
    ("sampler_free", None, [_HANDLE]),
    ("sampler_choose", c.c_int, [_HANDLE, _F32P, int32_arg, _I32P]),
    ("sampler_accept", c.c_int, [_HANDLE, int32_arg]),
    ("routes_take", c.c_int, [_HANDLE, _I32P, c.c_size_t, c.POINTER(c.c_size_t)]),
    ("context_moe_cache", c.c_int, [_HANDLE, c.POINTER(moe_layer), int32_arg, _I32P]),
    ("context_memory", c.c_int, [_HANDLE, c.POINTER(memory_row), int32_arg, _I32P]),
    (
        "context_cells",
        c.c_int,
        [_HANDLE, *(c.POINTER(cell_group), int32_arg, _I32P), *(_I32P, int32_arg, _I32P)],
    ),
    (
        "context_plan",
        c.c_int,
        [
            *(_HANDLE, c.POINTER(context_params), c.POINTER(context_info)),
            *(c.POINTER(memory_row), int32_arg, _I32P),
        ],
    ),
    ("context_placement", c.c_int, [_HANDLE, int32_arg, _OUT_TEXT]),
    (
        "context_plan_placement",
        c.c_int,
        [_HANDLE, c.POINTER(context_params), int32_arg, _OUT_TEXT],
    ),
    ("allocations", c.c_int, [c.POINTER(memory_row), int32_arg, _I32P]),
    ("measure_rate", c.c_int, [c.POINTER(rate_params), c.POINTER(c.c_double)]),
    (
        "quant_choose",
        c.c_int,
        [c.POINTER(quant_model), c.POINTER(quant_recipe), c.POINTER(quant_tensor), int32_arg],
    ),
    ("quant_row_bytes", c.c_int, [c.c_char_p, c.c_int64, _I64P]),
    (
        "quantize",
        c.c_int,
        [
            *(c.c_char_p, c.c_void_p, c.c_int64, c.c_int64, c.c_void_p),
            *(int32_arg, c.c_void_p, c.c_size_t, _I64P),
        ],
    ),
    (
        "dequantize",
        c.c_int,
        [c.c_char_p, c.c_void_p, c.c_size_t, c.c_int64, c.c_int64, int32_arg, c.c_void_p],
    ),
]

_EXCEPTIONS: dict[int, type[errors.PannierError]] = {
    1: errors.PannierError,
    2: errors.EngineError,
    3: errors.ArgumentError,
    4: errors.ModelError,
    5: errors.LoadCancelled,
    6: errors.ContextError,
    7: errors.ContextError,
    8: errors.CacheFull,
    9: errors.DecodeError,
    10: errors.ChatError,
}


class Library:
    """The functions of one libpannier, as attributes without the prefix."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            native = c.CDLL(str(path))
        except OSError as error:
            raise errors.EngineError(
                f"cannot load the engine {path}: {error}; run `pannier build` again"
            ) from None
        for name, restype, argtypes in PROTOTYPES:
            function = getattr(native, f"pannier_{name}")
            function.restype = restype
            function.argtypes = argtypes
            setattr(self, name, function)
        version = self.abi_version()
        if version != ABI_VERSION:
            raise errors.EngineError(
                f"the engine {path} speaks version {version} of pannier.h, this package "
                f"{ABI_VERSION}; run `pannier build` again"
            )

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"pannier.h has no function pannier_{name}")

    def check(self, status: int) -> None:
        """Raise the exception that stands for a status; return on success."""
        if status:
            message = self.last_error().decode("utf-8", "replace")
            raise _EXCEPTIONS[status](message)

    def text(self, function: Any, *args: Any) -> str:
        """Call a function whose last argument hands out text; free the text."""
        out = Text()
        self.check(function(*args, c.byref(out)))
        return self.take(out)

    def take(self, out: c.c_void_p) -> str:
        """Text that a function handed out; frees it."""
        try:
            return c.string_at(out.value or 0).decode("utf-8", "replace")
        finally:
            self.text_free(out)


_library: Library | None = None
_lock = threading.Lock()


def library() -> Library:
    """The engine of this process, loaded at first use.

    Raises EngineNotFound if none has been built.
    """
    if _library is not None:
        return _library
    from .engine import find_engine

    return load(find_engine().library)


def load(path: Path) -> Library:
    """Load the engine at `path` for this process; a second, other one is an EngineError."""
    global _library
    with _lock:
        if _library is None:
            _library = Library(path)
            from . import log

            log.connect(_library)
        elif _library.path != path:
            raise errors.EngineError(
                f"this process already uses the engine {_library.path}; start another process "
                f"for {path}"
            )
        return _library


Handle = c.c_void_p
Text = c.c_void_p
byref = c.byref
pointer = c.pointer
buffer = c.create_string_buffer
int32 = c.c_int32
int64 = c.c_int64
size = c.c_size_t
double = c.c_double


def texts(values: Sequence[str]) -> Any:
    """A C array of UTF-8 strings."""
    return (c.c_char_p * len(values))(*(value.encode() for value in values))


def int32s(values: Sequence[int]) -> Any:
    """A C array of int32. Raises ArgumentError for what is no 32-bit number."""
    try:
        checked = array("i", values)
    except (TypeError, OverflowError) as error:
        raise errors.ArgumentError(f"not a list of 32-bit numbers: {error}") from None
    return (c.c_int32 * len(checked)).from_buffer(checked)


def float32s(values: Sequence[float]) -> Any:
    """A C array of float32."""
    return (c.c_float * len(values))(*values)


def int32s_of(n: int) -> Any:
    """A C array of n int32, zero."""
    return (c.c_int32 * n)()


def float32s_of(n: int) -> Any:
    """A C array of n float32, zero."""
    return (c.c_float * n)()


def int8s_of(n: int) -> Any:
    """A C array of n int8, zero."""
    return (c.c_int8 * n)()


def int32_pointer(address: int) -> Any:
    """A pointer to int32 at an address."""
    return c.cast(address, c.POINTER(c.c_int32))


def float32_pointer(address: int) -> Any:
    """A pointer to float32 at an address."""
    return c.cast(address, c.POINTER(c.c_float))


def memory_rows_of(n: int) -> Any:
    """A C array of n memory rows that know their size."""
    return (memory_row * n)(*(memory_row() for _ in range(n)))


def moe_layers_of(n: int) -> Any:
    """A C array of n layers that know their size."""
    return (moe_layer * n)(*(moe_layer() for _ in range(n)))


def cell_groups_of(n: int) -> Any:
    """A C array of n groups of cells that know their size."""
    return (cell_group * n)(*(cell_group() for _ in range(n)))


def tensor_rows_of(n: int) -> Any:
    """A C array of n tensor rows that know their size."""
    return (tensor_row * n)(*(tensor_row() for _ in range(n)))


def quant_tensors_of(rows: Sequence[quant_tensor]) -> Any:
    """A C array of tensors."""
    return (quant_tensor * len(rows))(*rows)
