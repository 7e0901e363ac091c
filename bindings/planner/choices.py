"""What a plan gave up, what would be cheaper, and what a wish that does not fit could change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from ..errors import PannierError
from ..server.config import EngineConfig
from .arguments import flags_between
from .budget import HOST
from .cost import Cost
from .facts import ModelFacts
from .placing import Placed, Placer
from .wish import PLACING, Wish

CHEAPER_TYPES = {"f32": "f16", "f16": "q8_0", "bf16": "q8_0", "q8_0": "q4_0"}


@dataclass(frozen=True)
class Choice:
    """Another configuration, by what it changes."""

    flags: tuple[str, ...]
    saved_bytes: dict[str, int]
    """By device; negative where more is taken."""
    speed: float
    """How fast it decodes, 1 being the plan."""


def given_up(placed: Placed, wish: Wish, facts: ModelFacts) -> tuple[str, ...]:
    """What is less than the best that there could be, in words."""
    return tuple(_given_up(placed.config, placed.cost, wish, facts))


def _given_up(config: EngineConfig, cost: Cost, wish: Wish, facts: ModelFacts) -> Iterator[str]:
    n_all = len(facts.layers) + 1
    if wish.devices and 0 <= config.n_gpu_layers < n_all:
        yield f"{n_all - config.n_gpu_layers} of {n_all} layers are in system memory"
    experts = sum(cost.expert_bytes.values())
    if wish.devices and (on_host := cost.expert_bytes.get(HOST, 0)):
        yield f"{on_host / experts:.0%} of the experts are in system memory" + (
            f", {cost.kind_bytes('moe_cache') / on_host:.0%} of these cached on the device"
            if config.moe_cache_mib
            else ""
        )
    if cost.n_ctx < facts.n_ctx_train:
        yield f"context of {cost.n_ctx} tokens; the model was trained with {facts.n_ctx_train}"
    types = {config.cache_type_k, config.cache_type_v} - {"f16", "bf16", "f32"}
    if types:
        yield f"KV cache in {', '.join(sorted(types))} instead of f16"
    if config.n_parallel < wish.config.n_parallel:
        yield f"{config.n_parallel} of {wish.config.n_parallel} clients"
    if not config.repack and wish.config.repack:
        yield (
            "weights in system memory stay pages of the file, not rearranged for the CPU's "
            "kernels (--no-repack): prompts are slower there"
        )
    if config.n_ubatch < wish.config.n_ubatch:
        yield f"prompts in passes of {config.n_ubatch} tokens instead of {wish.config.n_ubatch}"


def cheaper_choices(placed: Placed, wish: Wish, placer: Placer) -> tuple[Choice, ...]:
    """One step down from a plan in each direction, with what it saves and costs."""
    return tuple(
        choice
        for config in _steps(placed, wish)
        if (choice := _choice(placed, config, wish, placer)) is not None
    )


def _steps(placed: Placed, wish: Wish) -> Iterator[EngineConfig]:
    config = placed.config
    type = CHEAPER_TYPES.get(config.cache_type_k)
    if type and config.flash_attn != "off":
        yield replace(config, cache_type_k=type, cache_type_v=type)
    if placed.cost.n_ctx > 512:
        yield replace(config, n_ctx=placed.cost.n_ctx // 2)
    if (n := config.n_parallel // 2) > 0:
        n_ctx = placed.cost.n_ctx // config.n_parallel * n  # each has what it had
        yield replace(config, n_parallel=n, n_ctx=n_ctx)
    if config.n_ubatch > 64:
        yield replace(config, n_ubatch=config.n_ubatch // 2)
    if wish.places and config.experts not in (None, "cpu"):
        yield replace(config, experts="cpu")
    if config.moe_cache_mib > 1:
        yield replace(config, moe_cache_mib=config.moe_cache_mib // 2)


def _choice(placed: Placed, config: EngineConfig, wish: Wish, placer: Placer) -> Choice | None:
    try:
        cost = placer.costs(config)
    except PannierError:
        return None
    devices = [budget.device for budget in wish.devices] or [HOST]
    saved = {device: placed.cost.used_bytes(device) - cost.used_bytes(device) for device in devices}
    if sum(saved.values()) <= 0:
        return None
    speed = placed.seconds / (placer.seconds(cost, config) or 1e-12)
    return Choice(flags_between(placed.config, config), saved, speed)


def remedies(wish: Wish, search: Callable[[Wish], Placed | None]) -> str:
    """For each thing that was asked for: the flags with which the rest of it fits."""
    found = []
    default = EngineConfig(model=wish.config.model)
    groups = [{"repack"}, {"n_ctx"}, {"cache_type_k", "cache_type_v"}, {"n_parallel"},
              {"n_ubatch", "n_batch"}, PLACING | {"moe_cache_mib"}]  # fmt: skip
    for group in groups:
        if not (freed := wish.fixed & group):
            continue
        config = replace(wish.config, **{name: getattr(default, name) for name in freed})
        placed = search(replace(wish, config=config, fixed=wish.fixed - freed))
        if placed is not None:
            found.append(" ".join(flags_between(wish.config, placed.config)))
    return "; or ".join(found)
