"""The sequences of a context and the cells that they may take.

Some sequences run a request, some hold a kept prefix, the others are empty. What a request may
need is promised before it starts; kept prefixes give way to it.
"""

from __future__ import annotations

from collections.abc import Iterable

from .cells import CellTree
from .limits import Limits
from .operations import Cut, Fork, Load
from .prefix_cache import CacheSizes, Kept, PrefixCache, Start
from .running import Running

GROW_CELLS = 256
"""A request without `max_tokens` that has used up its cells asks for so many more."""


class SequencePool:
    """Who has which sequence, and how many cells are promised to whom."""

    def __init__(self, limits: Limits, sizes: CacheSizes, running: dict[int, Running]) -> None:
        """`running`: the requests that run, as their owner keeps them."""
        self.limits = limits
        self.running = running
        self.tree = CellTree()
        self.cache = PrefixCache(self.tree, sizes, limits.can_cut, limits.unified)

    # ------------------------------------------------------------ sequences

    def place(self, start: Start, n_reserved: int) -> tuple[int, int] | None:
        """A sequence and how many of the tokens it holds; None if there is no room for it."""
        if start.source >= 0:
            seq = self._share(start, n_reserved)
            if seq is None and start.kept is not None:
                seq = self._take_over(start.kept, start.n, n_reserved)
            if seq is not None:
                return seq, start.n
        if not self._make_room(n_reserved, ()):
            return None
        seq = self.free_sequence(())
        if seq is None:
            return None
        return seq, self._load(start, seq, n_reserved)

    def _share(self, start: Start, n_reserved: int) -> int | None:
        """A fork of the sequence that has the prefix."""
        if not self.limits.unified or not self._make_room(n_reserved - start.n, {start.source}):
            return None
        target = self.free_sequence({start.source})
        if target is not None:
            self.fork(start.source, target, start.n)
            if start.kept is not None:
                self.cache.use(start.kept)
        return target

    def _take_over(self, kept: Kept, n: int, n_reserved: int) -> int | None:
        """Go on in the sequence that has the prefix: there is no room beside it."""
        if not self._fits(n_reserved, ()):
            return None
        seq = self.cache.take(kept)
        if n < self.tree.length(seq):
            self._cut(seq, n)
        self._make_room(n_reserved - n, {seq})
        return seq

    def _load(self, start: Start, seq: int, n_reserved: int) -> int:
        """Fill an empty sequence from the store, if the state is still there (making room may have
        cost it) and all of it fits. Returns how many tokens it has then."""
        kept = start.kept
        if kept is None or not start.is_stored or not kept.stored:
            return 0
        n = len(kept.tokens)
        if (n > n_reserved and not self._make_room(n, ())) or not kept.stored:
            return 0
        self.cache.use(kept)
        self.cache.operations.append(Load(kept.key, seq))
        self.tree.extend(seq, kept.tokens, kept.adapters)
        if start.n < n:
            self._cut(seq, start.n)
        return start.n

    def free_sequence(self, protected: Iterable[int]) -> int | None:
        """An empty sequence, made empty if need be."""
        busy = {running.seq for running in self.running.values()}
        for seq in range(self.limits.n_sequences):
            if seq not in busy and seq not in self.tree:
                return seq
        victim = self.cache.victim(set(protected))
        return self.cache.evict(victim) if victim is not None else None

    def fork(self, source: int, target: int, n: int) -> None:
        """Let an empty sequence share the first n tokens of another."""
        for running in self.running.values():
            running.note_share(self.tree.n_share(running.seq))
        self.tree.fork(source, target, n)
        self.cache.operations.append(Fork(source, target, n))

    def spare_copy(self, start: Start) -> int | None:
        """An otherwise unused sequence with the first tokens of what is kept or runs elsewhere;
        None where there is no room for one."""
        seq = self.free_sequence({start.source})
        if seq is not None and start.source >= 0:
            self.fork(start.source, seq, start.n)
        elif seq is not None and self._load(start, seq, start.n) == 0:
            return None
        return seq

    def room_for(self, n: int, protected: set[int]) -> int | None:
        """An empty sequence with room for so many tokens beside the protected ones; None: no."""
        return self.free_sequence(protected) if self._make_room(n, protected) else None

    def _cut(self, seq: int, n: int) -> None:
        self.tree.cut(seq, n)
        self.cache.operations.append(Cut(seq, n))

    # ------------------------------------------------------------ cells

    def _fits(self, n_new: int, protected: Iterable[int]) -> bool:
        """Whether so many cells fit beside what runs and what is protected."""
        if not self.limits.unified:
            return n_new <= self.limits.n_ctx_seq
        busy = {running.seq for running in self.running.values()}
        held = self.tree.n_held(busy.union(protected))
        return held + self._n_growth() + n_new <= self.limits.n_ctx

    def _make_room(self, n_new: int, protected: Iterable[int]) -> bool:
        """Evict kept prefixes until so many more cells can be promised. False: they never will."""
        protected = set(protected)
        if not self._fits(n_new, protected):
            return False
        while self.limits.unified and self.n_promised + n_new > self.limits.n_ctx:
            victim = self.cache.victim(protected)
            if victim is None:
                return False
            self.cache.evict(victim)
        return True

    @property
    def n_promised(self) -> int:
        """Cells in use and those that running requests may still take."""
        return self.tree.n_cells + self._n_growth()

    def _n_growth(self) -> int:
        return sum(running.n_growth for running in self.running.values())

    def grow(self, running: Running) -> bool:
        """Promise a request some more cells; False if there is not even one."""
        most = self.limits.n_ctx_seq - running.n_reserved
        for n in (min(GROW_CELLS, most), 1):
            if 0 < n <= most and self._make_room(n, ()):
                running.n_reserved += n
                return True
        return False

    def refill(self, running: Running, start: Start) -> int | None:
        """Fill a running request's empty sequence with what there is. None: no room."""
        shares = self.limits.unified and start.source >= 0
        if shares and self._make_room(running.n_reserved - start.n, {start.source}):
            self.fork(start.source, running.seq, start.n)
            return start.n
        if not self._make_room(running.n_reserved, ()):
            return None
        return self._load(start, running.seq, running.n_reserved)
