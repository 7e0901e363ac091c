"""Tokens to text, piece by piece: what a client may see of an output that still grows.

Nothing here decodes a token twice or takes a sent character back. Bytes are
held while they could be the beginning of a character or of a stop string, so
what is sent does not depend on how tokens cut the text.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Sequence
from typing import Protocol


class HasPieces(Protocol):
    """The part of a vocabulary that turns tokens into bytes."""

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """The bytes of one token; of a control token only if `special`."""
        ...


class Pieces:
    """A vocabulary's pieces, each asked for once."""

    def __init__(
        self, vocabulary: HasPieces, *, special: bool = False, spelled: Iterable[int] = ()
    ) -> None:
        """`special` spells out control tokens; `spelled` are those spelled out in any case."""
        self._vocabulary = vocabulary
        self._special = special
        self._known = {token: vocabulary.piece(token, special=True) for token in spelled}

    def __getitem__(self, token: int) -> bytes:
        piece = self._known.get(token)
        if piece is None:
            piece = self._vocabulary.piece(token, special=self._special)
            self._known[token] = piece
        return piece

    def join(self, tokens: Iterable[int]) -> bytes:
        """The bytes of several tokens in a row."""
        return b"".join([self[token] for token in tokens])


class TextStream:
    """The text of one output: `push` tokens, get what may be sent; `flush` at the end.

    The first stop string to be complete ends the text before it (the one that
    began earlier, if two end together). `stop` then names it, and everything
    that follows is dropped. Bytes that are no UTF-8 become what `bytes.decode` makes of
    them with `errors`.
    """

    def __init__(self, pieces: Pieces, stops: Sequence[str] = (), errors: str = "replace") -> None:
        self._pieces = pieces
        self._stops = [(stop.encode(), stop) for stop in stops if stop]
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors)
        self._held = b""
        self.n_bytes = 0
        """Bytes pushed so far."""
        self.n_kept_bytes = 0
        """Bytes that belong to the text: all, or those before the stop string."""
        self.stop: str | None = None

    def push(self, tokens: Iterable[int]) -> str:
        """The text that these tokens set free, possibly none."""
        if self.stop is not None:
            return ""
        data = self._pieces.join(tokens)
        self.n_bytes += len(data)
        if not self._stops:
            self.n_kept_bytes = self.n_bytes
            return self._decoder.decode(data)
        self._held += data
        return self._release()

    def flush(self) -> str:
        """What is still held, when no more tokens come."""
        if self.stop is not None:
            return ""
        text = self._decoder.decode(self._held, final=True)
        self._held = b""
        self.n_kept_bytes = self.n_bytes
        return text

    def _release(self) -> str:
        found = self._find_stop()
        if found is not None:
            begin, self.stop = found
            self.n_kept_bytes = self.n_bytes - len(self._held) + begin
            text = self._decoder.decode(self._held[:begin], final=True)
            self._held = b""
            return text
        n_free = len(self._held) - self._n_maybe_stop()
        free, self._held = self._held[:n_free], self._held[n_free:]
        self.n_kept_bytes = self.n_bytes - len(self._held)
        return self._decoder.decode(free)

    def _find_stop(self) -> tuple[int, str] | None:
        """Begin and name of the stop string that is complete first."""
        first: tuple[int, int, str] | None = None
        for data, stop in self._stops:
            begin = self._held.find(data)
            if begin >= 0:
                candidate = (begin + len(data), begin, stop)
                first = candidate if first is None else min(first, candidate)
        return None if first is None else first[1:]

    def _n_maybe_stop(self) -> int:
        """Length of the longest end of the held bytes that begins a stop string."""
        held, longest = self._held, 0
        for data, _ in self._stops:
            for n in range(min(len(data) - 1, len(held)), longest, -1):
                if held.endswith(data[:n]):
                    longest = n
                    break
        return longest
