"""All flags of `pannier serve`, by group."""

from __future__ import annotations

from .chat import CHAT
from .context import CONTEXT, PREFIXES, SLOTS, SPECULATION, THREADS
from .embeddings import ADAPTERS, EMBEDDINGS
from .flag import Flag
from .http import ENDPOINTS, HTTP, LIMITS, LOG
from .model import LOADING, MODEL, PLACEMENT
from .planning import PLANNING
from .refused import REFUSED
from .sampling import ANSWERS, PENALTIES, SAMPLING

Groups = dict[str, tuple[Flag, ...]]

GROUPS: Groups = {
    "model": MODEL + LOADING,
    "context": CONTEXT,
    "threads": THREADS,
    "slots and queue": SLOTS,
    "prefixes of prompts": PREFIXES,
    "speculation": SPECULATION,
    "embeddings": EMBEDDINGS,
    "adapters and infill": ADAPTERS,
    "placement": PLACEMENT,
    "planning": PLANNING,
    "HTTP": HTTP,
    "limits": LIMITS,
    "endpoints": ENDPOINTS,
    "answers": ANSWERS,
    "chat": CHAT,
    "sampling": SAMPLING,
    "penalties": PENALTIES,
    "log": LOG,
    "not here": REFUSED,
}

CHAT_GROUPS: Groups = {
    name: GROUPS[name]
    for name in ("model", "context", "threads", "placement", "sampling", "penalties")
}
"""Those that `pannier chat` has too."""


PLAN_GROUPS: Groups = {
    name: GROUPS[name]
    for name in (
        *("model", "context", "slots and queue", "prefixes of prompts", "speculation"),
        *("placement", "planning"),
    )
}
"""Those that `pannier plan` has too."""


TRACE_GROUPS: Groups = CHAT_GROUPS
"""Those that `pannier trace` has too."""


BENCH_GROUPS: Groups = PLAN_GROUPS | {"threads": THREADS}
"""Those that `pannier bench vram` has too."""


def flags_of(groups: Groups) -> tuple[Flag, ...]:
    """All of them, in order."""
    return tuple(flag for group in groups.values() for flag in group)


def by_name(groups: Groups) -> dict[str, Flag]:
    """Each flag by each of its names."""
    return {name: flag for flag in flags_of(groups) for name in flag.all_names}
