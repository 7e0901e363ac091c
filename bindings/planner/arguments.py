"""A configuration as the flags of `pannier serve`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..server.config import EngineConfig

Write = Callable[[Any], str]


def _number(value: float) -> str:
    return f"{value:g}"


def _size(n_bytes: int) -> str:
    """As the flag reads it: in whole KiB, and never more."""
    return f"{n_bytes >> 10}K"


def _pairs(rows: tuple[tuple[str, str], ...]) -> str:
    return ",".join(f"{pattern}={buffer}" for pattern, buffer in rows)


FLAGS: dict[str, tuple[str, Write]] = {
    "n_ctx": ("-c", str),
    "n_parallel": ("-np", str),
    "kv_unified": ("--kv", lambda unified: "unified" if unified else "split"),
    "n_prefixes": ("--prefix-sequences", str),
    "n_batch": ("-b", str),
    "n_ubatch": ("-ub", str),
    "cache_type_k": ("-ctk", str),
    "cache_type_v": ("-ctv", str),
    "state_type": ("--state-type", str),
    "flash_attn": ("-fa", str),
    "load_mode": ("-lm", str),
    "devices": ("-dev", ",".join),
    "n_gpu_layers": ("-ngl", lambda n: "all" if n < 0 else str(n)),
    "tensor_split": ("-ts", lambda shares: ",".join(map(_number, shares))),
    "experts": ("--experts", str),
    "n_cpu_moe": ("-ncmoe", str),
    "tensor_overrides": ("-ot", _pairs),
    "moe_cache_mib": ("--moe-cache-mib", str),
    "lazy_mode": ("-lzm", str),
    "host_memory": ("--host-memory", str),
    "pin_budget": ("--pin-budget", _size),
    "split_mode": ("-sm", str),
    "main_gpu": ("-mg", str),
    "spec_type": ("--spec-type", str),
    "spec_size_n": ("--spec-ngram-simple-size-n", str),
    "spec_size_m": ("--spec-ngram-simple-size-m", str),
}
"""Fields that a plan can set or depends on, in the order of the flags."""

SWITCHES = {
    "swa_full": "--swa-full",
    "repack": "--no-repack",
    "no_host": "--no-host",
    "offload_kqv": "--no-kv-offload",
    "op_offload": "--no-op-offload",
}
"""Fields that differ from their default by a switch."""


def flags_between(old: EngineConfig, new: EngineConfig) -> tuple[str, ...]:
    """The flags that make the one of the other. What is empty or None now has no flag."""
    words: list[str] = []
    for field, (flag, write) in FLAGS.items():
        value = getattr(new, field)
        if value != getattr(old, field) and value not in ((), None):
            words += [flag, write(value)]
    default = EngineConfig(model=new.model)
    for field, switch in SWITCHES.items():
        if getattr(new, field) not in (getattr(old, field), getattr(default, field)):
            words.append(switch)
    return tuple(words)


def serve_arguments(config: EngineConfig) -> tuple[str, ...]:
    """What follows `pannier serve` to get exactly this."""
    return (config.model, *flags_between(EngineConfig(model=config.model), config))
