"""Texts from tokens as llama-cpp-python cuts them: whole tokens, no half characters, no beginning
of a stop string."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .tokens import Token

Detokenize = Callable[[Sequence[int]], bytes]
LEADS = ((2, 0b1100_0000), (3, 0b1110_0000), (4, 0b1111_0000))
"""Bytes of a character, and the bits that its first byte has."""


class HalfCharacters:
    """Whether a token leaves a character without its end.

    It counts tokens and not bytes, as llama-cpp-python does: a token counts as one byte of those
    that are missing.
    """

    def __init__(self) -> None:
        self.n_missing = 0

    def push(self, text: bytes) -> bool:
        """Look at the text after a token; whether to wait for the next."""
        for i, byte in enumerate(text[-3:]):
            n_left = 3 - i
            for size, bits in LEADS:
                if size > n_left and byte & bits == bits:
                    self.n_missing = size - n_left
        if self.n_missing > 0:
            self.n_missing -= 1
            return True
        return False


def first_stop(text: bytes, stops: Sequence[bytes]) -> int:
    """Where the text is cut by the first stop string, in their order, that it has; -1: nowhere."""
    return next((text.index(stop) for stop in stops if stop in text), -1)


def n_held(text: bytes, stops: Sequence[bytes]) -> int:
    """Length of the longest end of a text that begins a stop string, or is one."""
    return max(
        (
            n
            for stop in stops
            for n in range(1, min(len(stop), len(text)) + 1)
            if text.endswith(stop[:n])
        ),
        default=0,
    )


@dataclass(frozen=True)
class Piece:
    """Tokens that are shown together, and their text."""

    tokens: tuple[Token, ...]
    text: str


@dataclass
class Stream:
    """Pieces of a text that grows."""

    detokenize: Detokenize
    stops: Sequence[bytes]
    each: bool
    """A piece for each token, half characters or not: they come with their log-probabilities."""
    held: list[Token] = field(default_factory=list)
    is_stuck: bool = False
    """Behind bytes that begin no character: the rest comes at the end, as in llama-cpp-python."""

    def push(self, tokens: Sequence[Token]) -> list[Piece]:
        """What these tokens set free."""
        self.held += tokens
        if self.is_stuck:
            return []
        text = self._bytes(self.held)
        return self._release(len(text) - n_held(text, self.stops))

    def finish(self) -> list[Piece]:
        """The rest, up to a stop string; the last token's text may be cut, down to nothing."""
        text = self._bytes(self.held)
        ends = [text.index(stop) for stop in self.stops if stop in text]
        left = min(ends, default=len(text))
        pieces = self._release(left)
        left -= sum(len(self._bytes(piece.tokens)) for piece in pieces)
        for token in self.held:
            if left <= 0 and pieces:
                break
            part = self._bytes([token])[:left]
            left -= len(part)
            pieces.append(Piece((token,), part.decode("utf-8", "ignore")))
        self.held = []
        return pieces

    def _release(self, n_bytes: int) -> list[Piece]:
        """Pieces within so many bytes of what is held."""
        pieces: list[Piece] = []
        while self.held and (size := self._next_size()):
            text = self._bytes(self.held[:size])
            n_bytes -= len(text)
            if n_bytes < 0:
                break
            pieces.append(Piece(tuple(self.held[:size]), text.decode("utf-8", "ignore")))
            del self.held[:size]
        return pieces

    def _next_size(self) -> int:
        """How many held tokens make whole characters; 0: not even all."""
        if self.each:
            return 1
        for size in range(1, len(self.held) + 1):
            try:
                self._bytes(self.held[:size]).decode()
            except UnicodeDecodeError as error:
                self.is_stuck = error.reason != "unexpected end of data"
                if self.is_stuck:
                    return 0
                continue
            return size
        return 0

    def _bytes(self, tokens: Sequence[Token]) -> bytes:
        return self.detokenize([token.id for token in tokens])
