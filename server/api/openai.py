"""What OpenAI's two endpoints share: the envelope of answers and of chunks."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from ..choice import Choice, Delta
from ..generation import Generation
from ..shapes import completion_id, probs_json, timings_json, usage_json
from ..state import Serving
from ..wire import DONE, dumps, event
from .native import native_chunk, native_final

quote = json.encoder.encode_basestring  # the C encoder of one string, UTF-8 kept


class Envelope:
    """One answer's id, time and model, and the parts around its choices."""

    def __init__(self, server: Serving, wanted: Generation, kind: str, chunk_kind: str) -> None:
        self.server = server
        self.wanted = wanted
        self._kind = kind
        head = {
            "created": int(time.time()),
            "model": server.settings.model_name,
            "system_fingerprint": server.settings.build_info,
        }
        self._head = {**head, "object": kind}
        self._id = completion_id()
        self._chunk = {**head, "object": chunk_kind, "id": self._id}
        self._chunk_end = b"]," + dumps(self._chunk)[1:] + b"\n\n"

    def chunk(self, choice: dict[str, Any] | None, **more: Any) -> bytes:
        """One event; `choice` None leaves the list of choices empty."""
        choices = [] if choice is None else [choice]
        return event({"choices": choices, **self._chunk, **more})

    def text_chunk(self, before: bytes, text: str, after: bytes) -> bytes:
        """One event around a text, put together from ready parts: one per token and client."""
        return b'data: {"choices":[' + before + quote(text).encode() + after + self._chunk_end

    def end(self, choices: Sequence[Choice]) -> bytes:
        """Usage, where asked for, and the mark of the end."""
        if not self.wanted.include_usage:
            return DONE
        return self.chunk(None, usage=self.usage(choices), **self.timings(choices[-1])) + DONE

    def answer(self, choices: Sequence[Choice], shapes: list[dict[str, Any]]) -> dict[str, Any]:
        """A whole answer."""
        return {
            "choices": shapes,
            **self._head,
            "usage": self.usage(choices),
            "id": self._id,
            **self.verbose(choices[0]),
            **self.timings(choices[0]),
        }

    def usage(self, choices: Sequence[Choice]) -> dict[str, Any]:
        """Token counts over all choices."""
        return usage_json(choices, self.wanted.n)

    def timings(self, choice: Choice) -> dict[str, Any]:
        """llama-server's extra field."""
        return {"timings": timings_json(choice.timings)}

    def extras(self, choice: Choice, *, last: bool) -> dict[str, Any]:
        """Fields of llama-server's on a chunk: timings on the last one, or on each if asked."""
        if self.wanted.timings_per_token or (last and not self.wanted.include_usage):
            return self.timings(choice)
        return {}

    def logprobs(self, choice: Choice, delta: Delta | None = None) -> dict[str, Any] | None:
        """Of a step, or of the whole answer; None if not asked for."""
        probs = choice.probs if delta is None else delta.probs
        if not probs:
            return None
        return {"content": probs_json(probs, self.server.pieces, post=self.wanted.post_probs)}

    def verbose(self, choice: Choice, delta: Delta | None = None) -> dict[str, Any]:
        """The same in `/completion`'s form, where asked for."""
        if not self.wanted.verbose:
            return {}
        if delta is None:
            return {"__verbose": native_final(choice, self.server)}
        return {"__verbose": native_chunk(choice, delta, self.server)}

    @property
    def plain(self) -> bool:
        """Chunks carry nothing but text."""
        wanted = self.wanted
        return not (wanted.n_probs or wanted.timings_per_token or wanted.verbose)
