"""What the clients of a bench ask for, and the cells that it takes."""

from __future__ import annotations

import random
from dataclasses import dataclass

from ..errors import ArgumentError

PADDING = 256
"""llama.cpp rounds a context up to a multiple of it."""
N_CONTROL = 3
"""The first tokens of a vocabulary are control tokens, mostly."""


@dataclass(frozen=True)
class Load:
    """Each client sends a prompt that begins as all others do, and generates."""

    n_prompt: int = 4096
    n_shared: int = 2048
    """Tokens that all prompts begin with."""
    n_predict: int = 256
    """Most tokens that a client generates; memory is read before it has them all."""

    def __post_init__(self) -> None:
        """Raises ArgumentError for what cannot be."""
        if self.n_shared > self.n_prompt:
            raise ArgumentError(
                f"--shared {self.n_shared} is more than --prompt {self.n_prompt}: "
                "prompts cannot share more than there is of them"
            )

    def own_tokens(self, unified: bool) -> int:
        """Tokens for which an additional client needs cells of its own."""
        return self.n_prompt + self.n_predict - (self.n_shared if unified else 0)

    def n_ctx(self, n_clients: int, unified: bool) -> int:
        """The context that so many clients fill. In a split cache nothing is shared."""
        if unified:
            return padded(self.n_shared + n_clients * self.own_tokens(unified))
        return n_clients * padded(self.own_tokens(unified))

    def prompts(self, n_clients: int, n_vocab: int) -> list[list[int]]:
        """One for each client, the same in every run."""
        shared = _tokens("shared", self.n_shared, n_vocab)
        n_own = self.n_prompt - self.n_shared
        return [shared + _tokens(f"client {i}", n_own, n_vocab) for i in range(n_clients)]

    def n_seeded(self, unified: bool) -> int:
        """Tokens that somebody has sent before: a hybrid can go on from where a prompt ended, and
        from no other place. The last token of a prompt is always computed."""
        return min(self.n_shared, self.n_prompt - 1) if unified else 0


def counts(n_most: int) -> tuple[int, ...]:
    """1, 2, 4 ... and the most."""
    powers = [1 << i for i in range(n_most.bit_length()) if 1 << i < n_most]
    return (*powers, n_most)


def padded(n_tokens: int) -> int:
    """As llama.cpp rounds it."""
    return -(-n_tokens // PADDING) * PADDING


def _tokens(seed: str, n: int, n_vocab: int) -> list[int]:
    rng = random.Random(seed)
    return [rng.randrange(min(N_CONTROL, n_vocab - 1), n_vocab) for _ in range(n)]
