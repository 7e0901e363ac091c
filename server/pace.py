"""How many prompt tokens a step may take while others wait for their next token."""

from __future__ import annotations

SMOOTHING = 0.3
LEAST = 16


class Pace:
    """Sizes mixed steps so that they take about `target_s`, by what steps took so far."""

    def __init__(self, most: int, target_s: float) -> None:
        """`target_s` 0: always `most` tokens."""
        self.most = most
        self.target_s = target_s
        self.n_tokens = most
        self._token_s = 0.0

    def note(self, n_decoding: int, n_prompt: int, seconds: float) -> None:
        """A step with so many decoding requests and prompt tokens took so long."""
        if self.target_s <= 0 or n_prompt == 0:
            return
        token_s = seconds / n_prompt
        old = self._token_s or token_s
        self._token_s = old + SMOOTHING * (token_s - old)
        affordable = int(self.target_s / self._token_s)
        self.n_tokens = n_decoding + max(LEAST, min(self.most, affordable))
