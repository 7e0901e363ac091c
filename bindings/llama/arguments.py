"""What the arguments of llama-cpp-python's `Llama` are here."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

from ..errors import ArgumentError
from ..server.config import EngineConfig
from .prompt_lookup import LlamaPromptLookupDecoding

DEFAULT_SEED = 0xFFFFFFFF
SPLIT_MODES = ("none", "layer", "row", "tensor")
ROPE_SCALINGS = {-1: "", 0: "none", 1: "linear", 2: "yarn"}
POOLINGS = {-1: "auto", 0: "none", 1: "mean", 2: "cls", 3: "last", 4: "rank"}
CACHE_TYPES = {0: "f32", 1: "f16", 2: "q4_0", 3: "q4_1", 6: "q5_0", 7: "q5_1", 8: "q8_0",
               20: "iq4_nl", 30: "bf16"}  # fmt: skip
"""By ggml's numbers."""
NUMA = {0: "", 1: "distribute", 2: "isolate", 3: "numactl"}


@dataclass(frozen=True)
class Arguments:
    """The constructor's arguments, as llama-cpp-python 0.3.36 names and orders them; those behind
    `device` are pannier's own."""

    model_path: str
    _: KW_ONLY
    n_gpu_layers: int = 0
    split_mode: int = 1
    main_gpu: int = 0
    tensor_split: Sequence[float] | None = None
    vocab_only: bool = False
    use_mmap: bool = True
    use_mlock: bool = False
    kv_overrides: Mapping[str, bool | int | float | str] | None = None
    seed: int = DEFAULT_SEED
    n_ctx: int = 512
    n_batch: int = 512
    n_ubatch: int = 512
    n_threads: int | None = None
    n_threads_batch: int | None = None
    rope_scaling_type: int | None = -1
    pooling_type: int = -1
    attention_type: int = -1
    rope_freq_base: float = 0.0
    rope_freq_scale: float = 0.0
    yarn_ext_factor: float = -1.0
    yarn_attn_factor: float = 1.0
    yarn_beta_fast: float = 32.0
    yarn_beta_slow: float = 1.0
    yarn_orig_ctx: int = 0
    logits_all: bool = False
    embedding: bool = False
    offload_kqv: bool = True
    flash_attn: bool = False
    op_offload: bool | None = None
    swa_full: bool | None = None
    no_perf: bool = False
    last_n_tokens_size: int = 64
    lora_base: str | None = None
    lora_scale: float = 1.0
    lora_path: str | None = None
    numa: bool | int = False
    chat_format: str | None = None
    chat_handler: Any = None
    draft_model: Any = None
    tokenizer: Any = None
    type_k: int | None = None
    type_v: int | None = None
    spm_infill: bool = False
    verbose: bool = True
    n_parts: int = -1
    f16_kv: bool = True
    """False: a cache of f32 where no type is given. This one, `n_parts` and `device` are of older
    versions; LangChain gives them."""
    device: str | None = None
    n_parallel: int = 8
    n_cells: int = 0
    experts: str | None = None
    n_cpu_moe: int = 0
    moe_cache_mib: int = 0
    devices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not Path(self.model_path).exists():
            raise ArgumentError(f"Model path does not exist: {self.model_path}")
        if self.lora_base is not None:
            raise ArgumentError(
                "lora_base is not taken: merge the adapter into its base first, or give the "
                "adapter of this file as lora_path"
            )
        if self.attention_type != -1:
            raise ArgumentError(
                f"attention_type is {self.attention_type}: it is always the file's; leave it out"
            )
        if self.draft_model is not None and not isinstance(
            self.draft_model, LlamaPromptLookupDecoding
        ):
            raise ArgumentError(
                "draft_model must be a LlamaPromptLookupDecoding: drafts of other models are not "
                "taken"
            )
        if self.n_parts != -1:
            raise ArgumentError(
                f"n_parts is {self.n_parts}: GGUF files know their parts; leave it out"
            )
        if self.device is not None:
            raise ArgumentError(
                f"device is {self.device!r}: give devices=({self.device!r},), with a name that "
                "`pannier doctor` lists"
            )
        least = {"n_parallel": 1, "n_batch": 1, "n_ubatch": 0, "n_ctx": 0, "n_cells": 0}
        for name, n in least.items():
            if getattr(self, name) < n:
                raise ArgumentError(f"{name} is {getattr(self, name)}; it must be at least {n}")

    @property
    def model_options(self) -> dict[str, Any]:
        """`Model`'s arguments. Raises ArgumentError."""
        return {
            "path": self.model_path,
            "n_gpu_layers": self.n_gpu_layers,
            "split_mode": SPLIT_MODES[_in_range("split_mode", self.split_mode, len(SPLIT_MODES))],
            "main_gpu": self.main_gpu,
            "tensor_split": tuple(self.tensor_split or ()),
            "vocab_only": self.vocab_only,
            "load_mode": self._load_mode,
            "kv_overrides": tuple(_override(*row) for row in (self.kv_overrides or {}).items()),
            "experts": self.experts,
            "n_cpu_moe": self.n_cpu_moe,
            "devices": self.devices,
        }

    @property
    def _load_mode(self) -> str:
        mapped = self.use_mmap and self.lora_path is None
        if mapped:
            return "mmap+mlock" if self.use_mlock else "mmap"
        return "mlock" if self.use_mlock else "none"

    def config(self, n_ctx_train: int) -> EngineConfig:
        """The context and how it is shared. A call can have `n_ctx` tokens; all calls together
        have `n_cells`, which is as much if nobody says otherwise. Raises ArgumentError."""
        n_ctx = self.n_ctx or n_ctx_train
        n_batch = max(1, min(n_ctx, self.n_batch))
        n_cpus = os.cpu_count() or 1
        cache_type = "f16" if self.f16_kv else "f32"
        return EngineConfig(
            model=self.model_path,
            n_ctx=max(n_ctx, self.n_cells),
            n_parallel=self.n_parallel,
            n_batch=n_batch,
            n_ubatch=min(n_batch, self.n_ubatch or n_batch),
            n_threads=self.n_threads or max(n_cpus // 2, 1),
            n_threads_batch=self.n_threads_batch or n_cpus,
            cache_type_k=_named(CACHE_TYPES, "type_k", self.type_k, cache_type),
            cache_type_v=_named(CACHE_TYPES, "type_v", self.type_v, cache_type),
            flash_attn="on" if self.flash_attn else "off",
            offload_kqv=self.offload_kqv,
            op_offload=self.op_offload is not False,
            swa_full=bool(self.swa_full),
            moe_cache_mib=self.moe_cache_mib,
            embeddings=self.embedding,
            pooling=_named(POOLINGS, "pooling_type", self.pooling_type, "auto"),
            logits_all=self.logits_all,
            warmup=False,
            numa=_named(NUMA, "numa", int(self.numa), ""),
            **self._rope,
            **self._drafts,
        )

    @property
    def _rope(self) -> dict[str, Any]:
        """What is not the default of llama-cpp-python: that stands for the model's own."""
        changed = {
            name: getattr(self, name)
            for name in ("rope_freq_base", "rope_freq_scale", "yarn_ext_factor",
                         "yarn_attn_factor", "yarn_beta_fast", "yarn_beta_slow", "yarn_orig_ctx")
            if getattr(self, name) != Arguments.__dataclass_fields__[name].default
        }  # fmt: skip
        scaling = -1 if self.rope_scaling_type is None else self.rope_scaling_type
        return changed | {"rope_scaling": _named(ROPE_SCALINGS, "rope_scaling_type", scaling, "")}

    @property
    def _drafts(self) -> dict[str, Any]:
        draft = self.draft_model
        if draft is None:
            return {}
        return {
            "spec_type": "ngram-simple",
            "spec_size_n": draft.max_ngram_size,
            "spec_size_m": draft.num_pred_tokens,
        }


def _named(names: Mapping[int, str], argument: str, number: int | None, default: str) -> str:
    if number is None:
        return default
    if number not in names:
        choices = ", ".join(f"{key} ({name or 'default'})" for key, name in names.items())
        raise ArgumentError(f"{argument} is {number}; it must be one of {choices}")
    return names[number]


def _in_range(argument: str, number: int, n: int) -> int:
    if not 0 <= number < n:
        raise ArgumentError(f"{argument} is {number}; it must be 0 to {n - 1}")
    return number


def _override(key: str, value: object) -> tuple[str, str, str]:
    """A row of metadata to replace."""
    if isinstance(value, bool):
        return key, "bool", str(value).lower()
    kinds = {int: "int", float: "float", str: "str"}
    if type(value) not in kinds:
        raise ArgumentError(
            f"Unknown value type for {key}: {value!r}; it must be bool, int, float or str"
        )
    return key, kinds[type(value)], str(value)
