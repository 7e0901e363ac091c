"""A choice's text as a message: content, reasoning and tool calls, whole or as it grows.

The parser is llama.cpp's, and its work grows with the text so far: where all that follows is
content it is not asked any more, and where nobody looks before the end it is asked once. Text that
is not in the format that the template promised becomes content as it is.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from dataclasses import dataclass

from ..chat import ChatMessage, ChatParser, MessageDelta, Parsed
from ..errors import ChatError
from ..text import Pieces

log = logging.getLogger("pannier.server")

SHORT_S = 0.0005
REST = 10
"""A stream rests so many times as long as a parse took, unless that was short: all parses of a long
answer together would take the time of a square."""


@dataclass(frozen=True)
class Reading:
    """How the answers to a conversation are read."""

    parser: ChatParser | None
    """None: all text is content."""
    pieces: Pieces
    """Tokens as the parser wants them spelled."""

    def reader(self, *, stream: bool) -> MessageReader:
        """For one more answer."""
        parser = self.parser.copy() if self.parser is not None else None
        return MessageReader(parser, self.pieces, stream=stream)


class MessageReader:
    """Text in, deltas out. Bytes that are no UTF-8 come as Python's surrogate escapes."""

    def __init__(self, parser: ChatParser | None, pieces: Pieces, *, stream: bool) -> None:
        self.pieces = pieces
        self._parser = parser
        self._stream = stream
        self._plain = parser is None
        self._starts: deque[tuple[int, int]] = deque()  # bytes at which tokens begin
        self._n_pushed = 0
        self._n_read = 0
        self._text: list[str] = []  # of the whole answer
        self._shown: list[str] | None = []  # the same, as deltas; None: some are not content
        self._unread: list[str] = []  # what the parser has not seen
        self._message: ChatMessage | None = None
        self._rests_until_s = 0.0
        self.has_tool_calls = False

    def push(self, tokens: list[int], text: str) -> list[MessageDelta]:
        """What the text set free by these tokens adds to the message."""
        if self._parser is not None:
            self._note(tokens)
        if text:
            self._text.append(text)
            self._unread.append(text)
        if not (text and self._stream):
            return []
        if self._plain:
            return [MessageDelta(content=clean(text))]
        if time.perf_counter() < self._rests_until_s:
            return []
        return self._deltas(self._parse(last=False))

    def finish(self) -> list[MessageDelta]:
        """What only the end tells."""
        if self._plain and self._stream:
            return []
        return self._deltas(self._parse(last=True))

    @property
    def message(self) -> ChatMessage:
        """The whole answer, after its end."""
        if self._message is None:
            self._parse(last=True)
            self._message = self._message or ChatMessage(clean("".join(self._text)))
        return self._message

    def _note(self, tokens: list[int]) -> None:
        for token in tokens:
            self._starts.append((self._n_pushed, token))
            self._n_pushed += len(self.pieces[token])

    def _parse(self, *, last: bool) -> Parsed | None:
        """None: the text cannot be read as a message, or there is nobody to read it."""
        if self._parser is None:
            return None
        data = "".join(self._unread).encode("utf-8", "surrogateescape")
        begin_s = time.perf_counter()
        try:
            parsed = self._parser.parse(data, self._take_starts(len(data)), last=last)
        except ChatError as error:
            log.warning("an answer is shown as it is: %s", error)
            self._parser.close()
            self._parser, self._plain = None, True
            return None
        end_s = time.perf_counter()
        if end_s - begin_s > SHORT_S:
            self._rests_until_s = end_s + REST * (end_s - begin_s)
        self._unread.clear()
        self._plain = parsed.plain
        if last:
            self._end(parsed)
        return parsed

    def _end(self, parsed: Parsed) -> None:
        if parsed.message != ChatMessage(""):
            self._message = parsed.message
        if self._parser is not None:
            self._parser.close()
            self._parser = None

    def _take_starts(self, n: int) -> list[tuple[int, int]]:
        """Tokens that begin in the next n bytes."""
        begin, self._n_read = self._n_read, self._n_read + n
        found = []
        while self._starts and self._starts[0][0] < self._n_read:
            at, token = self._starts.popleft()
            found.append((at - begin, token))
        return found

    def _deltas(self, parsed: Parsed | None) -> list[MessageDelta]:
        if parsed is None:
            return self._rest()
        if any(delta.call is not None for delta in parsed.deltas):
            self.has_tool_calls = True
        for delta in parsed.deltas:
            if not delta.content:
                self._shown = None
            elif self._shown is not None:
                self._shown.append(delta.content)
        return parsed.deltas

    def _rest(self) -> list[MessageDelta]:
        """What a client has not seen of a text that turned out to be no message."""
        text = clean("".join(self._text))
        if not self._stream or self._shown is None or not text.startswith("".join(self._shown)):
            return []
        rest = text[len("".join(self._shown)) :]
        return [MessageDelta(content=rest)] if rest else []


def clean(text: str) -> str:
    """Surrogate escapes as U+FFFD."""
    if text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text):
        return text
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
