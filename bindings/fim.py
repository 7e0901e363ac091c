"""The tokens with which a model is asked to fill a gap in a text."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FimTokens:
    """Token ids; -1 where the vocabulary has none."""

    prefix: int = -1
    """Before the text before the gap."""
    suffix: int = -1
    """Before the text after the gap."""
    middle: int = -1
    """Before what fills it."""
    repository: int = -1
    """Before the name of a repository."""
    file: int = -1
    """Before the name of a file."""
