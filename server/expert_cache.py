"""Whether a cache of experts is of use to a server's clients: llama.cpp says nothing when it goes
past it."""

from __future__ import annotations

from collections.abc import Iterator

from ..context import Context
from ..errors import ContextError
from ..moe_cache import MAX_BATCH, MoeCache
from ..moe_room import MoeRoom, room_of
from .config import EngineConfig


def check_expert_cache(context: Context, config: EngineConfig) -> None:
    """Raises `ContextError` in a strict server whose cache would not be used."""
    problems = list(cache_problems(context, config)) if config.strict else []
    if problems:
        raise ContextError("; ".join(problems))


def cache_problems(context: Context, config: EngineConfig) -> Iterator[str]:
    """What keeps the cache from being used when all clients decode."""
    if not config.moe_cache_mib:
        return
    room, cache = room_of(context.model), context.moe_cache()
    n_tokens = min(config.n_parallel, context.n_parallel) * (1 + config.n_draft)
    if cache is None:
        yield _unused(room)
    elif n_tokens > MAX_BATCH:
        yield (
            f"the cache of experts is for steps of at most {MAX_BATCH} tokens, and "
            f"{config.n_parallel} clients decode {n_tokens} at once: larger steps compute as "
            "without it; fewer clients (-np) or no cache (--moe-cache 0)"
        )
    else:
        yield from _too_small(room, cache, n_tokens)


def _unused(room: MoeRoom) -> str:
    where = "--no-repack keeps them as they are there" if room.n_elsewhere else "there are none"
    return (
        "the cache of experts has nothing to cache: no layer has all of its experts in system "
        f"memory as the file has them (--experts cpu puts them there, {where})"
    )


def _too_small(room: MoeRoom, cache: MoeCache, n_tokens: int) -> Iterator[str]:
    """Every group of layers has as many slots as the tokens of one step may need."""
    n_needed = room.n_slots(n_tokens)
    slots = {layer.layer: layer.n_slots for layer in cache.layers}
    short = {layer: slots.get(layer, 0) for layer in room.layouts if slots.get(layer, 0) < n_needed}
    if short:
        mib = -(-room.least_bytes(n_tokens) // 2**20)
        yield (
            f"the cache of experts has {min(short.values())} slots for {len(short)} of "
            f"{len(room.layouts)} layers, and {n_tokens} tokens of one step may use {n_needed} "
            f"experts of a layer: where they do not fit, the CPU computes; --moe-cache {mib}M "
            "or fewer clients (-np)"
        )
