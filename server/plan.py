"""One step: what it computes, and what came of that."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from .drafts import NO_DRAFT, Draft
from .messages import Adapters, TokenLogprob
from .operations import Operation
from .running import Running


class Chunk(NamedTuple):
    """Tokens of one request in a step; `sample` if the last of them yields a token."""

    request: Running
    tokens: list[int]
    sample: bool
    draft: Draft = NO_DRAFT
    """Guesses of the tokens to be sampled."""

    @property
    def n_tokens(self) -> int:
        return len(self.tokens) + len(self.draft.tokens)


@dataclass(slots=True)
class Plan:
    """One step: these operations, then these requests start, then these chunks are computed."""

    operations: list[Operation] = field(default_factory=list)
    started: list[Running] = field(default_factory=list)
    chunks: list[Chunk] = field(default_factory=list)

    @property
    def adapters(self) -> Adapters:
        """What all chunks are computed with."""
        return self.chunks[0].request.adapters if self.chunks else ()

    @property
    def n_tokens(self) -> int:
        return sum(chunk.n_tokens for chunk in self.chunks)

    @property
    def only_decodes(self) -> bool:
        """No prompt is computed."""
        return all(chunk.request.is_decoding for chunk in self.chunks)

    def leave_out(self, running: Running) -> None:
        """Compute nothing of this request."""
        self.chunks = [chunk for chunk in self.chunks if chunk.request is not running]


class SampledToken(NamedTuple):
    """What the engine answered for one chunk that asked to be sampled, or for one of its guesses
    that came true."""

    id: int
    token: int
    """-1 if the sampler failed."""
    logprob: TokenLogprob | None = None
