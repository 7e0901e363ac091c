"""A request that has a slot and a sequence."""

from __future__ import annotations

from dataclasses import dataclass, field

from .lookup import Lookup
from .messages import Adapters, Output, Submit


@dataclass(slots=True)
class Running:
    """What one request has computed, and what it has yet to compute."""

    request: Submit
    slot: int
    """Its number among the requests that run, from 0."""
    seq: int
    """Its sequence in the context's memory."""
    tokens: list[int]
    """Prompt and sampled tokens, without those that a shift forgot."""
    n_reserved: int
    """Tokens that it may have in all."""
    n_computed: int = 0
    n_reused: int = 0
    """Tokens that were in the cache when it started."""
    n_generated: int = 0
    points: list[int] = field(default_factory=list)
    """Lengths at which a copy of the state is to be kept, ascending."""
    awaited: set[int] = field(default_factory=set)
    """Lengths that waiting requests will start from."""
    n_failures: int = 0
    """Steps with it that failed."""
    reason: str = ""
    """Why its prompt had to be computed."""
    drift_at: int = -1
    is_paused: bool = False
    """It lost its state, and waits for room to compute it again. It keeps its slot and sampler."""
    shifted: bool = False
    n_share_before: float = 0.0
    """Its share of cells, at most, before others came to share them or it started over."""
    lookup: Lookup | None = None
    """Guesses its next tokens."""
    n_drafted: int = 0
    n_draft_accepted: int = 0

    @property
    def id(self) -> int:
        return self.request.id

    @property
    def adapters(self) -> Adapters:
        return self.request.adapters

    @property
    def n_prompt(self) -> int:
        return len(self.request.prompt)

    @property
    def n_left(self) -> int:
        """Tokens to compute before the next one can be sampled."""
        return len(self.tokens) - self.n_computed

    @property
    def is_decoding(self) -> bool:
        return self.n_generated > 0 and self.n_left == 1 and not self.is_paused

    @property
    def n_growth(self) -> int:
        """Cells that it may still take."""
        return 0 if self.is_paused else max(0, self.n_reserved - self.n_computed)

    @property
    def is_awaited(self) -> bool:
        """A copy of its state is to be kept at a length that is still to come."""
        return any(n > self.n_computed for n in self.points)

    def progress(self) -> Output:
        """How far its prompt is."""
        return Output(self.id, slot=self.slot, processed=[min(self.n_computed, self.n_prompt)])

    def note_draft(self, n_guessed: int, n_accepted: int) -> None:
        """So many of the guessed tokens came true."""
        n_accepted = min(n_guessed, n_accepted)
        self.n_drafted += n_guessed
        self.n_draft_accepted += n_accepted
        if self.lookup is not None:
            self.lookup.note(len(self.tokens), n_guessed, n_accepted)

    def note_share(self, n_cells: float) -> None:
        """Its share of cells is about to shrink."""
        self.n_share_before = max(self.n_share_before, n_cells)

    def next_stop(self) -> int:
        """Where the next chunk has to end at the latest."""
        return next((n for n in self.points if n > self.n_computed), len(self.tokens))

    def add_point(self, n: int) -> None:
        """Keep the state after n tokens, if it is not too late."""
        if self.n_computed < n <= len(self.tokens) and n not in self.points:
            self.points.append(n)
            self.points.sort()
