"""One text completion: tokens in, llama-cpp-python's dictionaries out."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from .callables import Logits
from .pieces import Detokenize, HalfCharacters, Piece, Stream, first_stop
from .tokens import Token, log_softmax

Row = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """What is completed, and what is wanted of it."""

    prompt: str | Sequence[int]
    prompt_tokens: list[int]
    max_tokens: int
    stops: tuple[bytes, ...]
    model_name: str
    bos: int
    n_top: int | None = None
    """Alternatives in `logprobs`; None: no log-probabilities."""
    echo: bool = False
    suffix: str | None = None
    """Put behind the text; the model does not know it."""
    stops_after: Callable[[], bool] = bool
    """Asked at the end: whether that is a stop, however it came."""
    prompt_logits: Callable[[], Sequence[Logits]] | None = None
    """Of all tokens of the prompt, for an echo with log-probabilities."""


@dataclass
class Completion:
    """The state of one completion."""

    request: Request
    detokenize: Detokenize
    save: Callable[[Sequence[int]], None] | None = None
    """Called with the tokens at the end."""
    joins: bool = True
    """The text of tokens is the texts of each, one after the other."""
    id: str = field(default_factory=lambda: f"cmpl-{uuid.uuid4()}")
    created: int = field(default_factory=lambda: int(time.time()))
    tokens: list[Token] = field(default_factory=list)
    finish_reason: str = "length"
    text: bytes = b""
    n_shown: int = 0

    def __post_init__(self) -> None:
        if not len(self.request.prompt):  # the first token is no text
            self.tokens.append(Token(self.request.bos))

    @property
    def ids(self) -> list[int]:
        return [token.id for token in self.tokens]

    # ------------------------------------------------------------ tokens

    def grow(self, tokens: Iterable[Token]) -> Iterator[list[Token]]:
        """Take tokens until the text ends; each time whole characters are there, the tokens since.

        Raises what the source of the tokens does.
        """
        halves = HalfCharacters()
        new: list[Token] = list(self.tokens)
        text = b""
        for token in tokens:
            self.tokens.append(token)
            new.append(token)
            text = self._text_after(token, text)
            if halves.push(text):
                continue
            cut = first_stop(text, self.request.stops)
            if cut >= 0:
                self.text, self.finish_reason = text[:cut], "stop"
                return
            yield new
            new = []
            if len(self.tokens) >= self.request.max_tokens:
                self.text, self.finish_reason = text, "length"
                return
        self.text = self.detokenize(self.ids)
        self.finish_reason = "length" if len(self.tokens) >= self.request.max_tokens else "stop"

    def _text_after(self, token: Token, before: bytes) -> bytes:
        """All text, with a token that is new."""
        if self.joins and self.tokens[0].id != self.request.bos:
            return before + self.detokenize([token.id])
        return self.detokenize(self.ids)

    # ------------------------------------------------------------ dictionaries

    def whole(self, tokens: Iterator[Token]) -> Row:
        """All of it at once."""
        with closing_source(tokens):
            for _ in self.grow(tokens):
                pass
        self._end()
        text = self.text.decode("utf-8", errors="ignore")
        if self.request.echo:
            text = self._prompt_text() + text
        n_prompt, n = len(self.request.prompt_tokens), len(self.tokens)
        row = self._chunk(text + (self.request.suffix or ""), self._logprobs(), self.finish_reason)
        usage = {"prompt_tokens": n_prompt, "completion_tokens": n, "total_tokens": n_prompt + n}
        return row | {"usage": usage}

    def chunks(self, tokens: Iterator[Token]) -> Iterator[Row]:
        """Piece by piece; the last has no text and the reason why it is the last."""
        has_logprobs = self.request.n_top is not None
        stream = Stream(self.detokenize, self.request.stops, each=has_logprobs)
        with closing_source(tokens):
            n_given = 0
            for new in self.grow(tokens):
                n_given += len(new)
                yield from map(self._piece, stream.push(new))
        self._end()
        stream.held += self.tokens[n_given:]
        yield from map(self._piece, stream.finish())
        yield self._chunk("", None, self.finish_reason)

    def _end(self) -> None:
        if self.request.stops_after():
            self.finish_reason = "stop"
        if self.save is not None:
            self.save(self.ids)

    def _piece(self, piece: Piece) -> Row:
        logprobs = None
        if self.request.n_top is not None:
            token = piece.tokens[0]
            shown = self.detokenize(self.ids[: self.n_shown]).decode("utf-8", "ignore")
            logprobs = {
                "tokens": [self._word(token.id)],
                "text_offset": [len(self.request.prompt) + len(shown)],
                "token_logprobs": [token.logprob],
                "top_logprobs": [self._top(token)],
            }
        self.n_shown += len(piece.tokens)
        return self._chunk(piece.text, logprobs, None)

    def _chunk(self, text: str, logprobs: Row | None, finish_reason: str | None) -> Row:
        choice = {
            "text": text,
            "index": 0,
            "logprobs": logprobs,
            "finish_reason": finish_reason,
        }
        return {
            "id": self.id,
            "object": "text_completion",
            "created": self.created,
            "model": self.request.model_name,
            "choices": [choice],
        }

    def _prompt_text(self) -> str:
        prompt = self.request.prompt
        return (
            prompt if isinstance(prompt, str) else self.detokenize(prompt).decode("utf-8", "ignore")
        )

    # ------------------------------------------------------------ log-probabilities

    def _logprobs(self) -> Row | None:
        if self.request.n_top is None:
            return None
        tokens = [*self._echoed(), *self.tokens] if self.request.echo else self.tokens
        ids = [token.id for token in tokens]
        begin = 0 if self.request.echo else len(self.request.prompt)
        rows = [(i, token) for i, token in enumerate(tokens) if token.id != self.request.bos]
        found: Row = {
            "tokens": [self._word(token.id) for _, token in rows],
            "text_offset": [
                begin + len(self.detokenize(ids[:i]).decode("utf-8", "ignore")) for i, _ in rows
            ],
            "token_logprobs": [token.logprob for _, token in rows],
            "top_logprobs": [self._top(token) for _, token in rows],
        }
        if self.request.echo and rows:  # nothing is before the first one
            found["token_logprobs"][0] = found["top_logprobs"][0] = None
        return found

    def _echoed(self) -> list[Token]:
        """The prompt's tokens behind a beginning of sequence, each with what was likely there."""
        prompt, n_top = self.request.prompt_tokens, self.request.n_top or 0
        assert self.request.prompt_logits is not None
        rows = [log_softmax(row) for row in self.request.prompt_logits()]
        echoed = [] if prompt[0] == self.request.bos else [Token(prompt[0])]
        for token, row in zip(prompt[1:], rows, strict=False):
            best = sorted(range(len(row)), key=lambda one: (-row[one], -one))[:n_top]
            top = tuple((one, float(row[one])) for one in best)
            echoed.append(Token(token, float(row[token]), top))
        return echoed

    def _top(self, token: Token) -> dict[str, float]:
        top = {self._word(one): logprob for one, logprob in token.top[: self.request.n_top]}
        return top | {self._word(token.id): token.logprob}

    def _word(self, token: int) -> str:
        return self.detokenize([token]).decode("utf-8", "ignore")


def closing_source(tokens: Iterator[Token]) -> closing[Any]:
    """End the call behind the tokens with the completion."""
    return closing(tokens)


def stop_words(stop: str | Sequence[str] | None) -> tuple[str, ...]:
    """One, several, or none, as callers give them."""
    return (stop,) if isinstance(stop, str) else tuple(stop or ())
