"""What the HTTP side knows of slots' requests, for `/slots`: the engine side knows tokens only."""

from __future__ import annotations

import weakref
from dataclasses import dataclass

from .choice import Choice
from .generation import Generation


@dataclass(frozen=True)
class Entry:
    """A request that runs, or the last one of a slot. Texts only where they may be shown."""

    wanted: Generation
    has_next_token: bool
    has_new_line: bool
    prompt: list[int]
    text: str


class Ledger:
    """Requests by id. Those that ended are kept until their slot has another."""

    def __init__(self, keeps_texts: bool) -> None:
        self._keeps_texts = keeps_texts
        self._running: weakref.WeakValueDictionary[int, Choice] = weakref.WeakValueDictionary()
        self._ended: dict[int, tuple[int, Entry]] = {}

    def note_start(self, id: int, choice: Choice) -> None:
        """A request is sent to the engine."""
        self._running[id] = choice

    def note_end(self, id: int, choice: Choice) -> None:
        """It has its last token."""
        self._running.pop(id, None)
        self._ended[choice.slot] = id, self._entry(choice, is_running=False)

    def find(self, id: int) -> Entry | None:
        """A request that runs, or ran last on its slot."""
        choice = self._running.get(id)
        if choice is not None:
            return self._entry(choice, is_running=True)
        return next((entry for known, entry in self._ended.values() if known == id), None)

    def _entry(self, choice: Choice, *, is_running: bool) -> Entry:
        return Entry(
            choice.wanted,
            has_next_token=is_running,
            has_new_line=is_running and choice.has_new_line,
            prompt=choice.prompt if self._keeps_texts else [],
            text=choice.text if self._keeps_texts else "",
        )
