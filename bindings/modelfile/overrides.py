"""Metadata as somebody wants it read: llama.cpp's `--override-kv`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

Row = tuple[str, str, str]
"""Key, type (int, float, bool, str) and value as text."""

READERS: dict[str, Callable[[str], object]] = {
    "int": int,
    "float": float,
    "bool": lambda text: text == "true",
    "str": str,
}


def overridden(metadata: Mapping[str, object], rows: Sequence[Row]) -> Mapping[str, object]:
    """The metadata with other values in their place, which are checked as the file's own are."""
    return {**metadata, **{key: READERS[kind](text) for key, kind, text in rows}} if rows else (
        metadata
    )  # fmt: skip
