"""One output that a client gets: tokens in, text and the facts around it out."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

from ..chat import ChatMessage, MessageDelta
from ..text import Pieces, TextStream
from .errors import ApiError
from .generation import Generation
from .line_limits import LineLimits
from .message_reader import MessageReader
from .messages import Output, Timings, TokenLogprob

DRIFT_TOKENS = 8
"""So many tokens show where a prompt leaves what the cache holds."""


def line_limits(wanted: Generation) -> LineLimits | None:
    """None if no line can end the answer."""
    if not wanted.ends_at_lines:
        return None
    return LineLimits(wanted.n_indent, wanted.t_max_predict_ms / 1e3)


STOP_TYPES = {"eos": "eos", "length": "limit"}


def check_served(output: Output) -> None:
    """Raises `ApiError` when the engine gave the request up."""
    if output.finish == "error":
        error = output.error or "the engine failed"
        raise ApiError(error, status=output.status, retry_after_s=output.retry_after_s)
    if output.finish == "cancelled":
        raise ApiError("the server is shutting down", status=503)


@dataclass(slots=True)
class Delta:
    """What one step added to a choice."""

    text: str
    tokens: list[int]
    probs: list[TokenLogprob]
    message: list[MessageDelta] = field(default_factory=list)
    """The text as a chat's message has it; then `text` is not for showing."""

    @property
    def empty(self) -> bool:
        """Nothing to show yet."""
        return not (self.text or self.probs or self.message)


class Choice:
    """The state of one output. `stop_type` is "none" while it grows."""

    def __init__(
        self,
        index: int,
        prompt: list[int],
        wanted: Generation,
        pieces: Pieces,
        all_pieces: Pieces,
        reader: MessageReader | None = None,
    ) -> None:
        """`reader` makes a message of the text, which then has surrogate escapes."""
        self.index = index
        self.prompt = prompt
        self.wanted = wanted
        self._pieces = pieces
        self._all_pieces = all_pieces
        self._reader = reader
        errors = "replace" if reader is None else "surrogateescape"
        self._text = TextStream(pieces, wanted.stops, errors)
        self._lines = line_limits(wanted)
        self._is_cut = False
        self._n_processed = -1
        self._n_cached = 0
        self.memory: dict[str, int] = {}
        self._shown: list[str] = []
        self._held_tokens: list[int] = []
        self._probs: list[tuple[int, TokenLogprob]] = []
        self._n_prob_bytes = 0
        self._timings: Timings | None = None
        self._submitted_s = time.perf_counter()
        self._started_s = self._submitted_s
        self._first_s: float | None = None
        self.tokens: list[int] = []
        self.n_predicted = 0
        self.slot = -1
        self.stop_type = "none"
        self.stopping_word = ""
        self.truncated = False
        self.has_new_line = False

    def feed(self, output: Output) -> Delta:
        """Take one step's news. Raises `ApiError` when the engine gave the request up."""
        check_served(output)
        if output.processed:
            self._note_progress(output)
            return Delta("", [], [])
        if output.memory is not None:
            self._note_memory(output.memory)
        text = self._push(output)
        self._count(output)
        if output.finish is not None or self._is_cut:
            text += self._text.flush()
        self._finish(output)
        delta = self._delta(text, output)
        if self._reader is not None:
            delta.message = self._reader.push(output.tokens, text)
            delta.message += self._reader.finish() if self.finished else []
            delta.text = ""
        return delta

    def _push(self, output: Output) -> str:
        """The text that these tokens set free. Guesses that came true may go beyond a stop string:
        what is after it leaves the output."""
        if not self.wanted.stops and self._lines is None:
            return self._text.push(output.tokens)
        text = ""
        for n, token in enumerate(output.tokens, 1):
            text += self._text.push([token])
            self._is_cut = self._lines is not None and self._ends_at_line(token)
            if self._text.stop is not None or self._is_cut:
                output.tokens, output.logprobs = output.tokens[:n], output.logprobs[:n]
                break
        return text

    @property
    def message(self) -> ChatMessage:
        """The whole text as a chat's message."""
        assert self._reader is not None
        return self._reader.message

    @property
    def has_tool_calls(self) -> bool:
        """The message calls tools."""
        return self._reader is not None and self._reader.has_tool_calls

    @property
    def text(self) -> str:
        """The whole text so far."""
        text = "".join(self._shown)
        if self._reader is not None:
            text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        if self._lines is None or self._lines.n_kept_bytes is None:
            return text
        return text.encode()[: self._lines.n_kept_bytes].decode("utf-8", "replace")

    @property
    def progress(self) -> dict[str, int]:
        """How far the prompt is."""
        return {
            "total": len(self.prompt),
            "cache": self._n_cached,
            "processed": self._n_processed,
            "time_ms": int((time.perf_counter() - self._started_s) * 1e3),
        }

    def _note_progress(self, output: Output) -> None:
        self.slot = output.slot
        if self._n_processed < 0:
            self._n_cached = output.processed[0]
            self._started_s = time.perf_counter()
        self._n_processed = output.processed[-1]

    def _note_memory(self, memory: dict[str, int]) -> None:
        peak = max(memory["peak_bytes"], self.memory.get("peak_bytes", 0))
        self.memory = {**memory, "peak_bytes": peak}

    def _ends_at_line(self, token: int) -> bool:
        assert self._lines is not None
        now = time.perf_counter()
        return self._lines.ends(self._pieces[token], now - (self._first_s or now))

    @property
    def finished(self) -> bool:
        """Nothing more will be added."""
        return self.stop_type != "none"

    @property
    def probs(self) -> list[TokenLogprob]:
        """Log-probabilities of the tokens whose bytes are at least partly in the text."""
        return [p for begin, p in self._probs if begin < self._text.n_kept_bytes]

    @property
    def timings(self) -> Timings:
        """The engine's; from this side's clock for what the engine did not tell."""
        if self.finished and self._timings is not None and not self.stopping_word:
            return replace(self._timings, predicted_n=self.n_predicted)
        first = self._first_s or time.perf_counter()
        known = self._timings or self._prompt_timings(first)
        predicted_s = time.perf_counter() - first
        return replace(known, predicted_n=self.n_predicted, predicted_s=predicted_s)

    def _prompt_timings(self, now: float) -> Timings:
        """While the prompt is computed; without news of that, as if all of it were."""
        n = len(self.prompt) if self._n_processed < 0 else self._n_processed - self._n_cached
        return Timings(n, now - self._submitted_s, 0, 0.0, cache_n=self._n_cached)

    def _count(self, output: Output) -> None:
        if self._first_s is None:
            self._first_s = time.perf_counter()
        self.n_predicted += len(output.tokens)
        self.slot = output.slot
        if output.timings is not None:
            self._timings = replace(output.timings, cache_reason=self._reason(output.timings))
        if self.wanted.return_tokens:
            self.tokens += output.tokens

    def _reason(self, timings: Timings) -> str:
        """Why the prompt was computed, with the text at which it leaves what was there."""
        at = timings.drift_at
        if not timings.cache_reason or at < 0:
            return timings.cache_reason
        shown = self._all_pieces.join(self.prompt[at : at + DRIFT_TOKENS]).decode(
            "utf-8", "replace"
        )
        return f"{timings.cache_reason} at token {at} ({shown!r})"

    def _finish(self, output: Output) -> None:
        if self._text.stop is not None:
            self.stop_type, self.stopping_word = "word", self._text.stop
        elif self._is_cut:
            self.stop_type = "limit"
        elif output.finish is not None:
            self.stop_type = STOP_TYPES[output.finish]
            self.truncated = self.stop_type == "limit" and self.n_predicted != (
                self.wanted.max_tokens
            )
            self.n_predicted += output.finish == "eos"  # the end token counts, as in llama-server

    def _delta(self, text: str, output: Output) -> Delta:
        self.has_new_line = self.has_new_line or "\n" in text
        if not self.wanted.stream:
            self._shown.append(text)
            self._keep_probs(output.logprobs)
            return Delta(text, [], [])
        self._held_tokens += output.tokens
        if not text and not output.logprobs:
            return Delta("", [], [])
        tokens, self._held_tokens = self._held_tokens, []
        return Delta(text, tokens, output.logprobs)

    def _keep_probs(self, probs: list[TokenLogprob]) -> None:
        for prob in probs:
            self._probs.append((self._n_prob_bytes, prob))
            self._n_prob_bytes += len(self._pieces[prob.token])
