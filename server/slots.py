"""Slots: numbers that clients see, and what each of them computed last."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from .cells import n_common

N_REMEMBERED = 64


@dataclass(slots=True)
class Slot:
    """One of them."""

    id: int
    requests: deque[int] = field(default_factory=lambda: deque(maxlen=N_REMEMBERED))
    """Its last requests since it was empty, or restored; the very last one at the end."""
    tokens: list[int] = field(default_factory=list)
    """What that one had computed when it ended."""
    last_used: int = -1
    """Higher is later."""

    def become(self, tokens: list[int]) -> None:
        """Hold these tokens, which none of its requests computed."""
        self.requests.clear()
        self.tokens = tokens


class Slots:
    """Who is idle, and who takes which request.

    The choice is llama-server's (`get_available_slot` in its `server-context.cpp`), so that its
    clients find what they know: the idle slot whose tokens are most of the prompt, or else the one
    that has been idle for longest.
    """

    def __init__(self, n: int, similarity: float) -> None:
        self._slots = [Slot(i) for i in range(n)]
        self._busy: set[int] = set()
        self._similarity = similarity
        self._clock = itertools.count()

    def __getitem__(self, number: int) -> Slot:
        """A slot; numbers beyond the last one begin again, as in llama-server."""
        return self._slots[number % len(self._slots)]

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def idle(self) -> Collection[Slot]:
        return [slot for slot in self._slots if slot.id not in self._busy]

    def is_busy(self, number: int) -> bool:
        """Whether a request runs there."""
        return self[number].id in self._busy

    def can_take(self, number: int) -> bool:
        """Whether a request that asks for this slot (-1: any) can have one."""
        return not self.is_busy(number) if number >= 0 else bool(self.idle)

    def take(self, number: int, tokens: Sequence[int]) -> int:
        """Occupy a slot for a request with these tokens; -1: whichever suits."""
        slot = self[number] if number >= 0 else self._choose(tokens)
        assert slot.id not in self._busy
        self._busy.add(slot.id)
        return slot.id

    def free(self, number: int, request: int, tokens: list[int]) -> None:
        """A slot is idle again."""
        slot = self._slots[number]
        self._busy.discard(number)
        slot.requests.append(request)
        slot.tokens, slot.last_used = tokens, next(self._clock)

    def _choose(self, tokens: Sequence[int]) -> Slot:
        alike = self._most_alike(tokens) if self._similarity > 0 else None
        return alike or min(self.idle, key=lambda slot: (slot.last_used, -slot.id))

    def _most_alike(self, tokens: Sequence[int]) -> Slot | None:
        shares = [(n_common(slot.tokens, tokens) / len(tokens), slot) for slot in self.idle]
        share, slot = max(shares, key=lambda pair: pair[0])
        return slot if share > self._similarity else None
