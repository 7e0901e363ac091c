"""Guesses of a request's next tokens: what followed the same few tokens earlier in it.

Prompt lookup: https://github.com/apoorvumang/prompt-lookup-decoding; llama.cpp's `ngram-simple`.
Guesses are only ever proposed: whoever samples decides, so a bad one costs its computation.
"""

from __future__ import annotations

from collections.abc import Sequence

N_LEAST = 2
"""Tokens that must be equal for a guess."""
N_CANDIDATES = 8
"""Earlier places that are compared."""
MOST_INDEXED = 32768
"""Tokens that are looked through; twice as many at most are kept in the index."""
MAX_REJECTED = 3
PAUSE = 32
"""Tokens without a guess, after so many guesses in a row of which nothing came true."""


class Lookup:
    """The token pairs of one request by where they occurred, and how its guesses fared."""

    def __init__(self, n_most: int, n_compared: int) -> None:
        """Guess at most `n_most` tokens, from where most of the last `n_compared` were the same."""
        self.n_most = n_most
        self.n_compared = n_compared
        self.n_allowed = n_most
        self.is_off = False
        self._n_rejected = 0
        self._paused_until = 0
        self._clear()

    def _clear(self) -> None:
        self._start = self._end = 0
        self._last: dict[tuple[int, int], int] = {}
        self._earlier: dict[int, int] = {}

    def guess(self, tokens: Sequence[int], n: int) -> list[int]:
        """Up to n tokens that may follow these, which go on from those of the last call."""
        n = min(n, self.n_allowed)
        if n < 1 or len(tokens) < self._paused_until:
            return []
        self._index(tokens)
        place = self._best_place(tokens)
        return continuation(tokens, place, n) if place else []

    def note(self, n_tokens: int, n_guessed: int, n_accepted: int) -> None:
        """So many tokens of a guess came true, which was made after `n_tokens`."""
        if n_accepted < n_guessed or 2 * n_accepted >= self.n_allowed:
            self.n_allowed = min(self.n_most, 2 * n_accepted + 1)
        self._n_rejected = 0 if n_accepted else self._n_rejected + 1
        if self._n_rejected >= MAX_REJECTED:
            self._n_rejected = 0
            self._paused_until = n_tokens + PAUSE

    def stop(self) -> None:
        """Guess nothing any more."""
        self.is_off = True

    def _index(self, tokens: Sequence[int]) -> None:
        """Note every pair but the last one, under the length up to its end."""
        if len(tokens) - self._start > 2 * MOST_INDEXED:
            self._clear()
            self._start = self._end = len(tokens) - MOST_INDEXED
        for end in range(max(self._end + 1, self._start + N_LEAST), len(tokens)):
            pair = (tokens[end - 2], tokens[end - 1])
            if pair in self._last:
                self._earlier[end] = self._last[pair]
            self._last[pair] = end
        self._end = max(self._end, len(tokens) - 1)

    def _best_place(self, tokens: Sequence[int]) -> int:
        """The length after which most of the last tokens occurred before; the latest of equals.
        0: not even a pair did."""
        best, n_best = 0, 0
        place = self._last.get((tokens[-2], tokens[-1]), 0) if len(tokens) >= N_LEAST else 0
        for _ in range(N_CANDIDATES):
            if not place:
                break
            n = n_equal_before(tokens, place, self.n_compared)
            if n > n_best:
                best, n_best = place, n
            place = 0 if n_best == self.n_compared else self._earlier.get(place, 0)
        return best


def n_equal_before(tokens: Sequence[int], place: int, most: int) -> int:
    """How many tokens before this place equal those before the end, up to `most`."""
    n = 0
    while n < min(most, place) and tokens[place - 1 - n] == tokens[-1 - n]:
        n += 1
    return n


def continuation(tokens: Sequence[int], place: int, n: int) -> list[int]:
    """The n tokens from this place on; what repeats itself up to the end goes on repeating."""
    period = len(tokens) - place
    return [tokens[place + i % period] for i in range(n)]
