"""Carries out the scheduler's operations on a real context and a store of states."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from ..context import Context
from ..errors import PannierError
from .operations import Cut, Drop, Forget, Fork, Load, MoveToDisk, Operation, Save
from .state_store import StateStore

logger = logging.getLogger("pannier.server")


class ContextMemory:
    """One context's sequences, and the states that were saved of them."""

    def __init__(self, context: Context, store: StateStore) -> None:
        self.context = context
        self.store = store
        self.lost: set[int] = set()
        """Sequences that should hold something and do not, since the last call of `perform`."""
        self.bad_keys: set[int] = set()
        """Stored states that do not exist or cannot be used, likewise."""

    def perform(self, operations: Iterable[Operation]) -> bool:
        """In order. False if something is lost now, in `lost` and `bad_keys`."""
        self.lost, self.bad_keys = set(), set()
        for operation in operations:
            try:
                self._perform(operation)
            except (PannierError, OSError, KeyError) as error:
                self._note(operation, error)
        return not (self.lost or self.bad_keys)

    def _perform(self, operation: Operation) -> None:
        if isinstance(operation, Fork):
            self._fork(operation)
        elif isinstance(operation, Drop):
            self.context.sequence(operation.seq).clear()
            self.lost.discard(operation.seq)
        elif isinstance(operation, Cut):
            if not self.context.sequence(operation.seq).remove(operation.n):
                raise PannierError(f"sequence {operation.seq} cannot be cut")
        elif isinstance(operation, Save):
            self._save(operation)
        elif isinstance(operation, Load):
            self.context.sequence(operation.seq).load(self.store.get(operation.key))
        elif isinstance(operation, MoveToDisk):
            self.store.move_to_disk(operation.key)
        elif isinstance(operation, Forget):
            self.store.forget(operation.key)

    def _fork(self, fork: Fork) -> None:
        source = self.context.sequence(fork.source)
        if fork.source in self.lost:
            raise PannierError(f"sequence {fork.source} is empty")
        target = source.copy_to(fork.target)
        if self.context.can_cut:
            target.remove(fork.n)

    def _save(self, save: Save) -> None:
        if save.seq in self.lost:
            raise PannierError(f"sequence {save.seq} is empty")
        state = self.context.sequence(save.seq).save()
        self.store.put(save.key, save.tokens, state, to_disk=save.to_disk)

    def _note(self, operation: Operation, error: Exception) -> None:
        logger.warning("%s failed: %s", type(operation).__name__, error)
        if isinstance(operation, (Save, MoveToDisk, Load)):
            self.bad_keys.add(operation.key)
        if isinstance(operation, (Load, Cut)):
            self.context.sequence(operation.seq).clear()
            self.lost.add(operation.seq)
        if isinstance(operation, Fork):
            self.lost.add(operation.target)
