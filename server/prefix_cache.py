"""Prefixes whose state is kept while no request runs on them, and which of them to give up.

On the device a kept prefix is an idle sequence; away from it, bytes in the store, in host memory
or on disk. What goes first is what saves least work per byte: the GreedyDual-Size-Frequency rule
(Cherkasova, 1998), where the work is the tokens that would have to be computed again.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from .cells import CellTree, Run, n_common
from .messages import Adapters
from .operations import Drop, Forget, MoveToDisk, Operation, Save

MIN_STORED_TOKENS = 64
"""Shorter prefixes are computed again rather than stored away from the device."""
N_REMEMBERED = 64


@dataclass(frozen=True)
class CacheSizes:
    """What a state costs and what there is for it, in bytes."""

    cell_bytes: int = 1
    state_bytes: int = 0
    """Of one sequence, beside its cells."""
    host_bytes: int = 0
    """Budget in host memory."""
    disk_bytes: int = 0
    """Budget on disk."""

    def of(self, n_tokens: int) -> int:
        """A saved state of so many tokens."""
        return self.state_bytes + n_tokens * self.cell_bytes


@dataclass(eq=False, slots=True)
class Kept:
    """One prefix: on the device if it has a sequence, and possibly in the store."""

    key: int
    tokens: list[int]
    seq: int = -1
    stored: Literal["", "host", "disk"] = ""
    owner: int = 0
    """Request that left it."""
    n_uses: int = 0
    value: float = 0.0
    adapters: Adapters = ()
    slot: int = -1
    """It was restored for this slot, whose next request is likely to want it: it goes last."""


@dataclass(frozen=True)
class Start:
    """Where a request can start: with so many tokens from here."""

    n: int = 0
    source: int = -1
    """Sequence that has them; -1: none."""
    kept: Kept | None = None
    """What is kept there; None where the source is a running sequence."""

    @property
    def is_stored(self) -> bool:
        """It must be loaded first."""
        return self.source < 0 and self.kept is not None


class PrefixCache:
    """The kept prefixes of one context."""

    def __init__(self, tree: CellTree, sizes: CacheSizes, can_cut: bool, can_fork: bool) -> None:
        self.tree = tree
        self.sizes = sizes
        self.can_fork = can_fork
        """Whether a running sequence can serve others too, or only an idle one."""
        self.can_cut = can_cut
        """Whether a sequence can serve any prefix of itself, or only itself as a whole."""
        self.kept: dict[int, Kept] = {}
        self.operations: list[Operation] = []
        """To be carried out in order, before anything is computed."""
        self.evicted: deque[tuple[Adapters, list[int]]] = deque(maxlen=N_REMEMBERED)
        self._keys = itertools.count(1)
        self._clock = 0.0
        self._by_seq: dict[int, Kept] = {}

    # ------------------------------------------------------------ lookup

    @property
    def sequences(self) -> Collection[int]:
        """Idle sequences that hold something."""
        return self._by_seq.keys()

    def find(self, tokens: list[int], adapters: Adapters = ()) -> Start:
        """The best place to start: at least one token is left to compute."""
        here = self._find_on_device(tokens, adapters)
        away = max(
            (
                Start(self._usable(k.tokens, tokens), kept=k)
                for k in self.kept.values()
                if k.seq < 0 and k.adapters == adapters
            ),
            key=lambda start: start.n,
            default=Start(),
        )
        return away if away.n >= here.n + MIN_STORED_TOKENS else here

    def _find_on_device(self, tokens: list[int], adapters: Adapters) -> Start:
        best = Start()
        for n, run, whole in self.tree.walk(tokens, adapters):
            n = min(n, len(tokens) - 1)
            source = self._source(run, n, whole) if n > best.n else -1
            if source >= 0:
                best = Start(n, source, self._by_seq.get(source))
        return best

    def _source(self, run: Run, n: int, whole: bool) -> int:
        """A sequence through this run that can serve its first n tokens, rather an idle one."""
        able = run.sequences if self.can_fork else run.sequences & self._by_seq.keys()
        if not self.can_cut:
            ends = whole and self.tree.length_of(run) == n
            able = {seq for seq in able if ends and self.tree.tails[seq] is run}
        return min(able, key=lambda seq: (seq not in self._by_seq, seq), default=-1)

    def _usable(self, held: list[int], tokens: list[int]) -> int:
        most = len(tokens) - 1
        if self.can_cut:
            return min(n_common(held, tokens), most)
        return len(held) if len(held) <= most and tokens[: len(held)] == held else 0

    def shared_with_evicted(self, tokens: list[int], adapters: Adapters = ()) -> int:
        """The longest prefix that was here once."""
        held = (held for of, held in self.evicted if of == adapters)
        return max((self._usable(one, tokens) for one in held), default=0)

    # ------------------------------------------------------------ keep, use

    def keep(self, seq: int, owner: int = 0, n_uses: int = 0) -> None:
        """A sequence has become idle: what it holds can be used again. What it goes on from has
        had its use, unless others went on from there too."""
        tokens = self.tree.tokens(seq)
        adapters = self.tree.adapters(seq)
        others = [kept for kept in self._on_device() if kept.adapters == adapters]
        if not tokens or any(self._covers(other.tokens, tokens) for other in others):
            for same in (other for other in others if other.tokens == tokens):
                same.owner = owner
            self.operations.append(Drop(seq))
            self.tree.drop(seq)
            return
        for old in others:
            if self._covers(tokens, old.tokens):
                self.drop(old)
        away = (k for k in self.kept.values() if k.seq < 0 and k.adapters == adapters)
        kept = next((k for k in away if k.tokens == tokens), None)
        if kept is None:
            kept = Kept(next(self._keys), tokens, adapters=adapters)
            self.kept[kept.key] = kept
        kept.seq = seq
        kept.owner = owner
        kept.n_uses = max(kept.n_uses, n_uses)
        self._by_seq[seq] = kept
        self._appraise(kept)
        for old in self._below(kept):
            if old.n_uses <= 1 and old.owner != owner:
                old.value = self._clock

    def _covers(self, tokens: list[int], others: list[int]) -> bool:
        """Whether a sequence with these tokens serves whatever one with those does."""
        return tokens[: len(others)] == others if self.can_cut else tokens == others

    def add_stored(self, tokens: list[int]) -> int:
        """A state that was found on disk. Returns its key."""
        kept = Kept(next(self._keys), tokens, stored="disk")
        self.kept[kept.key] = kept
        self._appraise(kept)
        return kept.key

    def trim_disk(self) -> None:
        """Delete what the disk's budget does not cover."""
        self._make_room("disk", 0, float("inf"))

    def use(self, kept: Kept) -> None:
        """A request starts from it."""
        kept.n_uses += 1
        self._appraise(kept)

    def take(self, kept: Kept) -> int:
        """Give the sequence of a kept prefix to a request, which will change it."""
        seq = kept.seq
        self._leave_device(kept)
        return seq

    def _appraise(self, kept: Kept) -> None:
        n_saved = len(kept.tokens) - self._n_below(kept)
        n_own = self.tree.n_own(kept.seq) if kept.seq >= 0 else len(kept.tokens)
        n_bytes = max(1, self.sizes.of(n_own))
        kept.value = self._clock + max(1, kept.n_uses) * max(1, n_saved) / n_bytes

    def _n_below(self, kept: Kept) -> int:
        """Length of the longest other kept prefix of this one."""
        return max((len(other.tokens) for other in self._below(kept)), default=0)

    def _below(self, kept: Kept) -> list[Kept]:
        """Kept prefixes of this one on the device."""
        if kept.seq < 0:
            return []
        return [
            self._by_seq[seq]
            for run in self.tree.tails[kept.seq].path()[:-1]
            for seq in run.sequences
            if seq in self._by_seq and self.tree.tails[seq] is run
        ]

    # ------------------------------------------------------------ give up

    def _on_device(self) -> Iterator[Kept]:
        return (kept for kept in tuple(self._by_seq.values()))

    def victim(self, protected: Collection[int] = ()) -> Kept | None:
        """The sequence on the device that is worth least; None if all are protected."""
        idle = (kept for kept in self._on_device() if kept.seq not in protected)
        return min(idle, key=lambda kept: (kept.slot >= 0, kept.value), default=None)

    def pin(self, seq: int, slot: int) -> None:
        """Give up what a sequence holds after everything that is not pinned."""
        if seq in self._by_seq:
            self._by_seq[seq].slot = slot

    def unpin(self, slot: int) -> None:
        """The slot is at work: what was pinned to it is like the rest."""
        for kept in self.kept.values():
            if kept.slot == slot:
                kept.slot = -1

    def erase(self, kept: Kept) -> None:
        """Give up a prefix, here and in the store."""
        if kept.stored:
            self.operations.append(Forget(kept.key))
            kept.stored = ""
        if kept.seq >= 0:
            self.drop(kept)
        else:
            self.kept.pop(kept.key, None)

    def evict(self, kept: Kept) -> int:
        """Free a sequence; its state goes to the store if there is room. Returns the sequence."""
        seq = kept.seq
        self._clock = max(self._clock, kept.value)
        if not kept.stored:
            self._store(kept, to_disk=self.sizes.host_bytes == 0)
        self.operations.append(Drop(seq))
        self.tree.drop(seq)
        self._leave_device(kept)
        return seq

    def drop(self, kept: Kept) -> None:
        """Free a sequence whose state nobody needs."""
        self.operations.append(Drop(kept.seq))
        self.tree.drop(kept.seq)
        del self._by_seq[kept.seq]
        kept.seq = -1
        if not kept.stored:
            del self.kept[kept.key]

    def lose(self, seq: int) -> None:
        """A sequence turned out to be empty."""
        kept = self._by_seq.get(seq)
        if kept is not None:
            self._leave_device(kept)

    def _leave_device(self, kept: Kept) -> None:
        del self._by_seq[kept.seq]
        kept.seq = -1
        if not kept.stored:
            del self.kept[kept.key]
            self.evicted.append((kept.adapters, kept.tokens))

    # ------------------------------------------------------------ store

    def flush(self, n: int | None = None) -> None:
        """Have up to n states written to disk that are not there yet."""
        if self.sizes.disk_bytes == 0:
            return
        waiting = sorted(self.kept.values(), key=lambda k: -k.value)
        n_written = 0
        for kept in [k for k in waiting if k.stored != "disk"]:
            if n_written == n:
                return
            if kept.stored == "host":
                n_written += self._to_disk(kept)
            elif kept.seq >= 0:
                n_written += self._store(kept, to_disk=True)

    def _store(self, kept: Kept, to_disk: bool) -> bool:
        n_bytes = self.sizes.of(len(kept.tokens))
        budget = self.sizes.disk_bytes if to_disk else self.sizes.host_bytes
        if to_disk and kept.adapters:
            return False  # another process may have other adapters under their ids
        if len(kept.tokens) < MIN_STORED_TOKENS or n_bytes > budget:
            return False
        where: Literal["host", "disk"] = "disk" if to_disk else "host"
        if not self._make_room(where, n_bytes, kept.value):
            return False
        kept.stored = where
        self.operations.append(Save(kept.seq, kept.key, tuple(kept.tokens), to_disk))
        return True

    def _to_disk(self, kept: Kept) -> bool:
        n_bytes = self.sizes.of(len(kept.tokens))
        if (
            kept.adapters
            or n_bytes > self.sizes.disk_bytes
            or not self._make_room("disk", n_bytes, kept.value)
        ):
            return False
        kept.stored = "disk"
        self.operations.append(MoveToDisk(kept.key))
        return True

    def _make_room(self, where: str, n_bytes: int, value: float) -> bool:
        """Move or forget what is worth less, until the new state fits."""
        budget = self.sizes.disk_bytes if where == "disk" else self.sizes.host_bytes
        there = sorted(self._stored(where), key=lambda kept: kept.value)
        used = sum(self.sizes.of(len(kept.tokens)) for kept in there)
        for kept in there:
            if used + n_bytes <= budget:
                break
            is_spare = where == "host" and kept.seq >= 0  # the device has it too
            if kept.value >= value and not is_spare:
                return False
            used -= self.sizes.of(len(kept.tokens))
            if where == "disk" or not self._to_disk(kept):
                self.forget(kept)
        return used + n_bytes <= budget

    def _stored(self, where: str) -> Iterable[Kept]:
        return [kept for kept in self.kept.values() if kept.stored == where]

    def forget(self, kept: Kept) -> None:
        """Delete a stored state."""
        self.operations.append(Forget(kept.key))
        kept.stored = ""
        if kept.seq < 0:
            self.kept.pop(kept.key, None)
            self.evicted.append((kept.adapters, kept.tokens))
