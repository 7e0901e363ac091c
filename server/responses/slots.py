"""Answers of `/slots` and `/slots/{id_slot}`."""

from __future__ import annotations

from typing import Any

from .base import Answer, sometimes
from .generation import BriefSettings, Settings


class NextToken(Answer):
    """How far an answer is."""

    has_next_token: bool
    has_new_line: bool
    """The text has one."""
    n_remain: int
    """Tokens that may follow; -1: until the model ends the answer."""
    n_decoded: int
    """Tokens so far."""


class Slot(Answer):
    """A slot. From `id_task` on it tells of the request that runs there, or ran there last."""

    id: int
    n_ctx: int
    """Tokens of context."""
    speculative: bool
    is_processing: bool
    id_task: int = sometimes()
    n_prompt_tokens: int = sometimes()
    """Tokens in the slot: of the prompt and of the answer."""
    n_prompt_tokens_processed: int = sometimes()
    """Tokens of the prompt that were computed so far."""
    n_prompt_tokens_cache: int = sometimes()
    """Tokens that were there before."""
    params: Settings | BriefSettings = sometimes()
    next_token: list[NextToken] = sometimes()
    """One."""
    prompt: str = sometimes()
    """What the client wrote; only with LLAMA_SERVER_SLOTS_DEBUG=1 in the environment."""
    generated: str = sometimes()
    """What it got, likewise."""


class SaveTimings(Answer):
    save_ms: float


class RestoreTimings(Answer):
    restore_ms: float


class SlotSaved(Answer):
    """What `action=save` wrote."""

    id_slot: int
    filename: str
    n_saved: int
    """Tokens."""
    n_written: int
    """Bytes."""
    timings: SaveTimings


class SlotRestored(Answer):
    """What `action=restore` read."""

    id_slot: int
    filename: str
    n_restored: int
    """Tokens."""
    n_read: int
    """Bytes."""
    timings: RestoreTimings


class SlotErased(Answer):
    """What `action=erase` forgot."""

    id_slot: int
    n_erased: int
    """Tokens."""


SLOTS: list[dict[str, Any]] = [
    {
        "id": 0,
        "n_ctx": 4096,
        "speculative": False,
        "is_processing": True,
        "id_task": 8,
        "n_prompt_tokens": 638,
        "n_prompt_tokens_processed": 13,
        "n_prompt_tokens_cache": 0,
        "next_token": [
            {"has_next_token": True, "has_new_line": False, "n_remain": 2375, "n_decoded": 625}
        ],
    },
    {"id": 1, "n_ctx": 4096, "speculative": False, "is_processing": False},
]
