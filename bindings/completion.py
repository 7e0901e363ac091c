"""Many prompts, answered by a pool: each one's text when it has ended."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from .sampling import SamplingParams
from .server.messages import Output, Timings
from .text import Pieces, TextStream

if TYPE_CHECKING:
    from .pool import Call, Pool

AHEAD = 4
"""Prompts that are handed to a pool before their turn, for each of its slots."""

Progress = Callable[[int], object]


@dataclass(frozen=True)
class Completion:
    """The answer to one prompt."""

    text: str
    tokens: tuple[int, ...]
    """Sampled ones, those of a stop string among them; no end of generation."""
    finish_reason: Literal["stop", "length"]
    stop: str | None
    """The stop string that ended it; None where the model did, or the length."""
    n_prompt: int
    timings: Timings | None
    """What was computed and what was there already; None where a stop string ended it at once."""


@dataclass
class _Growing:
    """A prompt whose answer has not ended."""

    index: int
    call: Call
    stream: TextStream
    parts: list[str] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    timings: Timings | None = None

    def feed(self, output: Output) -> bool:
        """Take one output; whether the answer has ended. Raises what went wrong."""
        self.call.check(output)
        self.timings = output.timings or self.timings
        for token in output.tokens:
            self.tokens.append(token)
            self.parts.append(self.stream.push([token]))
            if self.stream.stop is not None:
                return True
        return bool(self.call.finish)

    def end(self) -> Completion:
        self.parts.append(self.stream.flush())
        is_cut = self.call.finish == "length" and self.stream.stop is None
        return Completion(
            "".join(self.parts),
            tuple(self.tokens),
            "length" if is_cut else "stop",
            self.stream.stop,
            self.call.n_prompt,
            self.timings,
        )


def generate(
    pool: Pool,
    prompts: Iterable[Sequence[int]],
    sampling: SamplingParams,
    stops: Sequence[str],
    progress: Progress | None,
    **options: Any,
) -> list[Completion]:
    """Answers in the order of the prompts. What one raises ends the others too."""
    inbox: queue.SimpleQueue[Output] = queue.SimpleQueue()
    pieces = Pieces(pool.model)
    growing: dict[int, _Growing] = {}
    done: dict[int, Completion] = {}
    waiting = enumerate(prompts)
    has_more = True
    try:
        while has_more or growing:
            while has_more and len(growing) < AHEAD * pool.config.n_parallel:
                index, prompt = next(waiting, (-1, []))
                if index < 0:
                    has_more = False
                    break
                call = pool.submit_to(inbox.put, prompt, sampling, **options)
                growing[call.id] = _Growing(index, call, TextStream(pieces, stops))
            if not growing:
                break
            output = inbox.get()
            one = growing.get(output.id)
            if one is not None and one.feed(output):
                one.call.close()
                done[one.index] = growing.pop(output.id).end()
                if progress is not None:
                    progress(len(done))
    finally:
        for one in growing.values():
            one.call.close()
    return [done[index] for index in sorted(done)]
