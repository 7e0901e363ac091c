"""Where pannier's answers differ from llama-server's, and why.

A pattern is a path into the answer, as in `choices.0.text`; `*` is one step, `**` any number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

VALUES = {
    "**.timings.*_ms": "time",
    "**.timings.*_per_second": "time",
    "**.created": "time",
    "**.id": "drawn, where it is text",
    "**.system_fingerprint": "names the program",
    "**.build_info": "names the program",
    "**.owned_by": "names the program",
    "**.media_marker": "drawn",
    "**.id_slot": "llama-server numbers slots by what they hold, pannier gives the first free one",
    "**.id_task": "counted by each program",
    "**.timings.cache_n": "what is kept is each program's own affair",
    "**.timings.prompt_n": "likewise",
    "**.prompt_tokens_details.cached_tokens": "likewise",
    "error.message": "each program's words",
    "**.reasoning_format": "what llama-server says where no reasoning is looked for",
    "**.prompt_progress.time_ms": "time",
}
"""Both have them, with other values."""

OURS = {
    "**.timings.cache_reason": "why a prompt was computed again",
    "**.generation_settings.context_overflow": "what to do when the context is full",
    "**.generation_settings.priority": "who starts first",
    "**.params.context_overflow": "what to do when the context is full",
    "**.params.priority": "who starts first",
    "**.params.cache_prompt": "whether to start from the cache",
    "**.generation_settings.cache_prompt": "likewise",
    "engine": "facts of the engine process",
}
"""Only pannier has them."""

THEIRS: dict[str, str] = {}
"""Only llama-server has them."""


def _regex(pattern: str) -> re.Pattern[str]:
    text = re.escape(pattern).replace(r"\*\*\.", r"(?:[^.]+\.)*").replace(r"\*", r"[^.]*")
    return re.compile(text)


class Differences:
    """Paths that need not be equal."""

    def __init__(self, *tables: Mapping[str, str]) -> None:
        self._patterns = [_regex(pattern) for table in tables for pattern in table]

    def __contains__(self, path: str) -> bool:
        return any(pattern.fullmatch(path) for pattern in self._patterns)


def differences(
    theirs: Any, ours: Any, case: Mapping[str, str], tolerance: float = 1e-3
) -> list[str]:
    """What differs and is not known to; empty if the answers are the same."""
    found = Comparison(case, tolerance)
    found.compare("", theirs, ours)
    return found.lines


class Comparison:
    """Walks two answers at once."""

    def __init__(self, case: Mapping[str, str], tolerance: float) -> None:
        self._case = Differences(case)
        self._values = Differences(VALUES)
        self._ours = Differences(OURS)
        self._theirs = Differences(THEIRS)
        self._tolerance = tolerance
        self.lines: list[str] = []

    def compare(self, path: str, theirs: Any, ours: Any) -> None:
        """Note every difference below a path."""
        if path in self._case:
            return
        is_token = path.endswith("id") and isinstance(theirs, int)
        if path in self._values and not isinstance(theirs, (dict, list)) and not is_token:
            return
        if isinstance(theirs, dict) and isinstance(ours, dict):
            self._objects(path, theirs, ours)
        elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
            for i, (one, other) in enumerate(zip(theirs, ours, strict=True)):
                self.compare(_join(path, str(i)), one, other)
        elif not self._equal(theirs, ours):
            self.lines.append(f"{path}: llama-server {theirs!r}, pannier {ours!r}")

    def _objects(self, path: str, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
        for key in theirs.keys() | ours.keys():
            inner = _join(path, key)
            if inner in self._case:
                continue
            if key not in ours:
                if inner not in self._theirs:
                    self.lines.append(f"{inner}: only llama-server has it: {theirs[key]!r}")
            elif key not in theirs:
                if inner not in self._ours:
                    self.lines.append(f"{inner}: only pannier has it: {ours[key]!r}")
            else:
                self.compare(inner, theirs[key], ours[key])

    def _equal(self, theirs: Any, ours: Any) -> bool:
        numbers = all(
            isinstance(value, (int, float)) and not isinstance(value, bool)
            for value in (theirs, ours)
        )
        if not numbers:
            return bool(type(theirs) is type(ours) and theirs == ours)
        if isinstance(theirs, int) and isinstance(ours, int):
            return theirs == ours
        return bool(abs(theirs - ours) <= self._tolerance * max(1.0, abs(theirs)))


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
