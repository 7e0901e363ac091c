"""Answers of `/lora-adapters`."""

from __future__ import annotations

from typing import Literal

from .base import Answer


class LoadedAdapter(Answer):
    """A LoRA adapter."""

    id: int
    path: str
    scale: float
    """For requests that do not say otherwise."""
    task_name: str
    """What its file says."""
    prompt_prefix: str
    """What its file says."""


class Success(Answer):
    """It was done."""

    success: Literal[True]
