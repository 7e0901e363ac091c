"""Saving, restoring and erasing what a slot holds.

A slot is a number; what it computed last lies in sequences and in the store, beside what others
left. Saving looks for it there: one state where the memory can go back to any point, else each
state that was kept along its tokens. Restoring makes kept prefixes of them again.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import PannierError
from .messages import Query
from .operations import Drop
from .prefix_cache import Kept, Start
from .slots import Slot
from .state_file import StateFile, read_states, write_states

if TYPE_CHECKING:
    from .loop import EngineLoop

State = tuple[int, bytes]
NO_TOKEN = -1


class SlotError(PannierError):
    """An action that cannot be done, with the HTTP status that suits it."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class SlotActions:
    """On the slots of one engine loop, while they are idle."""

    def __init__(self, loop: EngineLoop) -> None:
        self._loop = loop
        self._context = loop.context
        self._scheduler = loop.scheduler
        self._pool, self._cache = loop.scheduler.pool, loop.scheduler.cache
        self._store = loop.memory.store

    def perform(self, query: Query) -> dict[str, Any]:
        """The report: llama-server's fields, or `error` and `status`."""
        slot = self._scheduler.slots[query.slot]
        self._loop.perform_pending()
        try:
            if query.kind == "slot_save":
                return self._save(query, slot)
            if query.kind == "slot_restore":
                return self._restore(query, slot)
            return self._erase(query, slot)
        except SlotError as error:
            return {"error": str(error), "status": error.status}

    # ------------------------------------------------------------ save

    def _save(self, query: Query, slot: Slot) -> dict[str, Any]:
        started = self._loop.clock()
        path = Path(query.path)
        try:
            tokens, states = self._states(slot.tokens)
            n_bytes = write_states(path, StateFile(self._store.identity, tokens, states))
        except OSError as error:
            status = 400 if path.is_dir() else 500
            raise SlotError(f"Unable to save slot: {error.strerror}", status) from error
        except SlotError:
            raise
        except PannierError as error:
            raise SlotError(f"Unable to save slot: {error}", 500) from error
        return {
            "id_slot": query.slot,
            "filename": path.name,
            "n_saved": len(tokens),
            "n_written": n_bytes,
            "timings": {"save_ms": (self._loop.clock() - started) * 1e3},
        }

    def _states(self, tokens: list[int]) -> tuple[list[int], list[State]]:
        """What is there of these tokens, and the states that stand for it."""
        if not self._scheduler.limits.can_cut:
            return self._states_along(tokens)
        start = self._cache.find([*tokens, NO_TOKEN])
        kept = start.kept
        if kept is not None and (len(kept.tokens) == start.n or not self._scheduler.limits.unified):
            return kept.tokens, [(len(kept.tokens), self._bytes_of(kept))]
        if not start.n:
            return [], []
        return tokens[: start.n], [(start.n, self._copied(start))]

    def _copied(self, start: Start) -> bytes:
        """A part of what a sequence holds."""
        seq = self._pool.spare_copy(start)
        if seq is None:
            raise SlotError("Unable to save slot: no sequence is free for a copy; try later", 503)
        self._loop.perform_pending()
        state = self._context.sequence(seq).save()
        self._scheduler.tree.drop(seq)
        self._cache.operations.append(Drop(seq))
        return state

    def _states_along(self, tokens: list[int]) -> tuple[list[int], list[State]]:
        along = [k for k in self._cache.kept.values() if tokens[: len(k.tokens)] == k.tokens]
        along.sort(key=lambda kept: len(kept.tokens))
        n = len(along[-1].tokens) if along else 0
        return tokens[:n], [(len(kept.tokens), self._bytes_of(kept)) for kept in along]

    def _bytes_of(self, kept: Kept) -> bytes:
        if kept.seq >= 0:
            return self._context.sequence(kept.seq).save()
        return self._store.get(kept.key)

    # ------------------------------------------------------------ restore

    def _restore(self, query: Query, slot: Slot) -> dict[str, Any]:
        started = self._loop.clock()
        path = Path(query.path)
        file = self._read(path)
        self._cache.unpin(slot.id)
        slot.become(file.tokens)
        self._load(file, slot.id)
        return {
            "id_slot": query.slot,
            "filename": path.name,
            "n_restored": len(file.tokens),
            "n_read": path.stat().st_size,
            "timings": {"restore_ms": (self._loop.clock() - started) * 1e3},
        }

    def _read(self, path: Path) -> StateFile:
        try:
            file = read_states(path)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            raise SlotError(f"Unable to restore slot: {why}") from error
        if file.identity != self._store.identity:
            raise SlotError(
                "Unable to restore slot: it was saved with another model, engine or cache layout"
            )
        n_vocab = self._context.model.n_vocab
        if not all(0 <= token < n_vocab for token in file.tokens):
            raise SlotError("Unable to restore slot: it has tokens that the model has not")
        if len(file.tokens) > self._scheduler.limits.n_ctx_seq:
            raise SlotError(
                f"Unable to restore slot: its {len(file.tokens)} tokens do not fit in the slot "
                f"context of {self._scheduler.limits.n_ctx_seq}"
            )
        return file

    def _load(self, file: StateFile, slot: int) -> None:
        """Longest first: where there is room for one only, it is that one."""
        loaded: set[int] = set()
        for n, state in reversed(file.states):
            seq = self._pool.room_for(n, loaded)
            if seq is None:
                if not loaded:
                    raise SlotError("Unable to restore slot: no available space in KV cache")
                return
            self._loop.perform_pending()
            try:
                self._context.sequence(seq).load(state)
            except PannierError as error:
                self._context.sequence(seq).clear()
                raise SlotError(f"Unable to restore slot: {error}") from error
            self._scheduler.tree.extend(seq, file.tokens[:n])
            self._cache.keep(seq, n_uses=1)
            self._cache.pin(seq, slot)
            loaded.add(seq)

    # ------------------------------------------------------------ erase

    def _erase(self, query: Query, slot: Slot) -> dict[str, Any]:
        n_erased = len(slot.tokens)
        for kept in list(self._left_by(slot)):
            self._cache.erase(kept)
        slot.become([])
        self._loop.perform_pending()
        return {"id_slot": query.slot, "n_erased": n_erased}

    def _left_by(self, slot: Slot) -> Iterable[Kept]:
        """What is kept along its tokens, unless requests of other slots went on from there."""
        return (
            kept
            for kept in self._cache.kept.values()
            if slot.tokens[: len(kept.tokens)] == kept.tokens
            and (kept.slot == slot.id or kept.owner in slot.requests)
        )
