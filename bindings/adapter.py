"""A LoRA adapter: what changes a model's weights while it computes."""

from __future__ import annotations

from dataclasses import dataclass

from .modelfile.adapter import AdapterFile


@dataclass(frozen=True)
class Adapter:
    """One that was loaded for a model; the model owns its memory."""

    id: int
    """Its number among the model's, from 0."""
    file: AdapterFile
