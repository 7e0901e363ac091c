"""Which cells of the KV cache hold which tokens of which sequences.

A model of what llama.cpp's unified cache does with `seq_cp` and `seq_rm`: a fork shares its
source's cells, and a cell is free again when its last sequence lets go of it. Sequences form
trees: a run of cells belongs to every sequence below it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from .messages import Adapters


@dataclass(eq=False, slots=True)
class Run:
    """Consecutive tokens whose cells belong to the same sequences."""

    tokens: list[int]
    parent: Run | None
    children: list[Run] = field(default_factory=list)
    sequences: set[int] = field(default_factory=set)
    adapters: Adapters = ()
    """What its tokens were computed with, and all those below it."""

    def path(self) -> list[Run]:
        """From the first run to this one."""
        runs = []
        run: Run | None = self
        while run is not None:
            runs.append(run)
            run = run.parent
        return runs[::-1]


class CellTree:
    """The cells in use, by run, and where each sequence ends."""

    def __init__(self) -> None:
        self.roots: list[Run] = []
        self.tails: dict[int, Run] = {}
        self.n_cells = 0
        """Cells in use, shared ones once."""

    def __contains__(self, seq: int) -> bool:
        return seq in self.tails

    def length(self, seq: int) -> int:
        """Tokens of a sequence."""
        tail = self.tails.get(seq)
        return self.length_of(tail) if tail else 0

    def length_of(self, run: Run) -> int:
        """Tokens up to the end of a run."""
        return sum(len(part.tokens) for part in run.path())

    def tokens(self, seq: int) -> list[int]:
        """The tokens of a sequence."""
        tail = self.tails.get(seq)
        return [token for run in tail.path() for token in run.tokens] if tail else []

    def adapters(self, seq: int) -> Adapters:
        """What a sequence was computed with."""
        return self.tails[seq].adapters

    def n_own(self, seq: int) -> int:
        """Cells that would be free without this sequence."""
        tail = self.tails.get(seq)
        return sum(len(r.tokens) for r in tail.path() if len(r.sequences) == 1) if tail else 0

    def n_share(self, seq: int) -> float:
        """Cells of this sequence, each by the number of its sharers."""
        tail = self.tails.get(seq)
        return sum(len(r.tokens) / len(r.sequences) for r in tail.path()) if tail else 0.0

    def n_held(self, sequences: Collection[int]) -> int:
        """Cells that these sequences hold, shared ones once."""
        runs = {run for seq in sequences if seq in self.tails for run in self.tails[seq].path()}
        return sum(len(run.tokens) for run in runs)

    # ------------------------------------------------------------ changes

    def extend(self, seq: int, tokens: Sequence[int], adapters: Adapters = ()) -> None:
        """Compute these tokens at the end of a sequence, with what it was computed with."""
        tail = self.tails.get(seq)
        assert tail is None or tail.adapters == adapters
        if tail is not None and len(tail.sequences) == 1:
            tail.tokens.extend(tokens)
        else:
            self.tails[seq] = self._add(tail, tokens, seq, adapters)
        self.n_cells += len(tokens)

    def _add(self, parent: Run | None, tokens: Sequence[int], seq: int, adapters: Adapters) -> Run:
        run = Run(list(tokens), parent, sequences={seq}, adapters=adapters)
        self._siblings(run).append(run)
        return run

    def fork(self, source: int, target: int, n: int) -> None:
        """Let an empty sequence share the first n tokens of another."""
        assert target not in self.tails and 0 < n <= self.length(source)
        tail = self._run_ending_at(source, n)
        for run in tail.path():
            run.sequences.add(target)
        self.tails[target] = tail

    def cut(self, seq: int, n: int) -> None:
        """Keep the first n tokens of a sequence."""
        if n == 0:
            return self.drop(seq)
        last = self._run_ending_at(seq, n)
        run = self.tails[seq]
        while run is not last:
            parent = run.parent
            self._let_go(run, seq)
            assert parent is not None
            run = parent
        self.tails[seq] = last
        return None

    def drop(self, seq: int) -> None:
        """Empty a sequence."""
        run = self.tails.pop(seq, None)
        while run is not None:
            parent = run.parent
            self._let_go(run, seq)
            run = parent

    def _let_go(self, run: Run, seq: int) -> None:
        run.sequences.remove(seq)
        if not run.sequences:
            self.n_cells -= len(run.tokens)
            self._siblings(run).remove(run)

    def _siblings(self, run: Run) -> list[Run]:
        return run.parent.children if run.parent else self.roots

    def _run_ending_at(self, seq: int, n: int) -> Run:
        """The run of a sequence that ends with its n-th token; one is split for it if need be."""
        start = 0
        for run in self.tails[seq].path():
            end = start + len(run.tokens)
            if n <= end:
                return run if n == end else self._split(run, n - start)
            start = end
        raise AssertionError(f"sequence {seq} has {start} tokens, not {n}")

    def _split(self, run: Run, n: int) -> Run:
        """Make two runs of one; the first of them, n tokens long, is returned."""
        head = Run(run.tokens[:n], run.parent, [run], set(run.sequences), run.adapters)
        siblings = self._siblings(run)
        siblings[siblings.index(run)] = head
        run.tokens = run.tokens[n:]
        run.parent = head
        return head

    # ------------------------------------------------------------ lookup

    def match(self, tokens: Sequence[int], adapters: Adapters = ()) -> tuple[int, set[int]]:
        """The longest prefix that any sequence holds: its length and who holds it."""
        best: tuple[int, set[int]] = (0, set())
        for n, run, _ in self.walk(tokens, adapters):
            if n > best[0]:
                best = (n, run.sequences)
        return best

    def walk(
        self, tokens: Sequence[int], adapters: Adapters = ()
    ) -> Iterator[tuple[int, Run, bool]]:
        """Runs along this prompt: tokens in common up to there, the run, whether all of it is."""
        pending = [(0, run) for run in self.roots if run.adapters == adapters]
        while pending:
            start, run = pending.pop()
            n = n_common(run.tokens, tokens, start)
            if n == 0:
                continue
            whole = n == len(run.tokens)
            yield start + n, run, whole
            if whole:
                pending.extend((start + n, child) for child in run.children)


def n_common(run: Sequence[int], tokens: Sequence[int], start: int = 0) -> int:
    """How many tokens a run has in common with those from `start` on."""
    low, high = 0, min(len(run), len(tokens) - start)
    if run[:1] != tokens[start : start + 1]:
        return 0
    if run[:high] == tokens[start : start + high]:
        return high
    while high - low > 1:  # the first `low` are equal, the first `high` are not
        middle = (low + high) // 2
        if run[low:middle] == tokens[start + low : start + middle]:
            low = middle
        else:
            high = middle
    return low
