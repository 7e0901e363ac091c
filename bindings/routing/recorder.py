"""Texts generated, and what the routers chose meanwhile."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from ..batch import Batch, StepResult
from ..context import Context
from ..engine.progress import Report
from ..errors import TraceError
from ..sampling import SamplingParams
from .trace import Trace, TracedModel, Ubatch
from .traced_model import ExpertLayers


@dataclass
class Text:
    """One prompt and what follows it."""

    number: int
    n_left: int
    """Tokens that are still to come."""
    last: int = 0
    """The token to compute next."""


@dataclass
class Recorder:
    """Goes on with prompts in one context, as many at once as it has sequences.

    A prompt is computed by itself; then its text takes part in steps of a token for each text.
    """

    context: Context
    sampling: SamplingParams
    n_predict: int
    layers: tuple[int, ...] = ()
    """Layers that have routed something, in rising order."""
    ubatches: list[Ubatch] = field(default_factory=list)
    n_generated: int = 0
    decode_s: float = 0.0
    """Time of the steps that decode."""

    def __post_init__(self) -> None:
        self._running: dict[int, Text] = {}
        self._numbers = count()

    @property
    def tokens_per_s(self) -> float:
        """While decoding, over all texts."""
        return self.n_generated / self.decode_s if self.decode_s else 0.0

    def run(self, prompts: Sequence[Sequence[int]], report: Report) -> None:
        """Raises TraceError for a prompt that leaves no room, and what a step raises."""
        self._check(prompts)
        waiting, total = deque(prompts), len(prompts) * self.n_predict
        while waiting or self._running:
            for sequence in range(self.context.n_parallel):
                if waiting and sequence not in self._running:
                    self._start(sequence, waiting.popleft())
            if self._running:
                self._decode()
            left = len(waiting) * self.n_predict + sum(one.n_left for one in self._running.values())
            report(total - left, total, f"{self.tokens_per_s:.1f} tokens/s")

    def trace(self, model: TracedModel, sizes: ExpertLayers, engine: str) -> Trace:
        """All that was recorded. Raises TraceError if nothing was."""
        if not self.ubatches or not self.layers:
            raise TraceError(f"{model.file} routed nothing: there is no trace to write")
        return Trace(
            model=model,
            engine=engine,
            layers=self.layers,
            expert_bytes=tuple(sizes.expert_bytes[layer] for layer in self.layers),
            layouts=tuple(sizes.layouts[layer] for layer in self.layers),
            ubatches=tuple(self.ubatches),
        )

    def _check(self, prompts: Sequence[Sequence[int]]) -> None:
        room = self.context.n_ctx // self.context.n_parallel
        for i, prompt in enumerate(prompts, 1):
            if not prompt or len(prompt) + self.n_predict > room:
                raise TraceError(
                    f"prompt {i} has {len(prompt)} tokens; of 1 to {room - self.n_predict} tokens "
                    f"there is room for beside the {self.n_predict} that follow: see -c and -n"
                )

    def _start(self, sequence: int, prompt: Sequence[int]) -> None:
        """Compute a prompt, in steps as large as can be."""
        self._running[sequence] = Text(next(self._numbers), self.n_predict)
        self.context.set_sampler(sequence, self.sampling, list(prompt))
        n_batch = self.context.n_batch
        for begin in range(0, len(prompt), n_batch):
            batch = Batch()
            part = prompt[begin : begin + n_batch]
            batch.add(sequence, part, sample=begin + n_batch >= len(prompt))
            self._follow(self._step(batch))

    def _decode(self) -> None:
        batch = Batch()
        for sequence, text in sorted(self._running.items()):
            batch.add(sequence, [text.last], sample=True)
        began = time.perf_counter()
        result = self._step(batch)
        self.decode_s += time.perf_counter() - began
        self.n_generated += len(result.sampled)
        self._follow(result)

    def _follow(self, result: StepResult) -> None:
        """Give each text its next token; texts that are over leave."""
        for sampled in result.sampled:
            text = self._running[sampled.seq_id]
            text.last = sampled.token
            text.n_left -= 1
            if text.n_left <= 0 or sampled.token < 0 or self._is_end(sampled.token):
                del self._running[sampled.seq_id]
                self.context.sequence(sampled.seq_id).clear()

    def _is_end(self, token: int) -> bool:
        return self.context.model.is_eog(token)

    def _step(self, batch: Batch) -> StepResult:
        """One step, and what was routed in it."""
        result = self.context.step(batch)
        numbers = {sequence: text.number for sequence, text in self._running.items()}
        for routes in self.context.take_routes():
            self.layers = self.layers or tuple(sorted(routes.experts))
            texts = tuple(numbers[batch.seq_ids[row]] for row in routes.rows)
            experts = tuple(routes.experts[layer].astype(np.uint16) for layer in self.layers)
            self.ubatches.append(Ubatch(routes.n_tokens, experts, texts))
        return result
