"""The arrays of a step, made once: the hot loop allocates nothing native."""

from __future__ import annotations

from array import array

from . import _ffi
from .batch import Batch, Sampled, StepResult
from .errors import ArgumentError


class StepBuffers:
    """Room for a batch of `n_batch` tokens and `n_outputs_max` samples."""

    def __init__(self, n_batch: int, n_outputs_max: int) -> None:
        self.tokens = _ffi.int32s_of(n_batch)
        self.seq_ids = _ffi.int32s_of(n_batch)
        self.outputs = _ffi.int8s_of(n_batch)
        self.batch = _ffi.batch(tokens=self.tokens, seq_ids=self.seq_ids, outputs=self.outputs)
        self.n_batch = n_batch
        self.capacity = max(n_outputs_max, 1)
        self.rows = _ffi.int32s_of(self.capacity)
        self.sampled = _ffi.int32s_of(self.capacity)
        self.logprobs = _ffi.float32s_of(self.capacity)
        self.lost = _ffi.int32s_of(self.capacity)
        self.step = _ffi.step(
            capacity=self.capacity,
            rows=self.rows,
            tokens=self.sampled,
            logprobs=self.logprobs,
            lost=self.lost,
        )
        self._resize_top(0)

    def _resize_top(self, n_top: int) -> None:
        self.n_top = n_top
        self.top_tokens = _ffi.int32s_of(self.capacity * n_top)
        self.top_logprobs = _ffi.float32s_of(self.capacity * n_top)
        self.step.top_tokens = self.top_tokens
        self.step.top_logprobs = self.top_logprobs
        self.step.n_top = n_top

    def fill(self, batch: Batch, n_top: int) -> tuple[_ffi.batch, _ffi.step]:
        n = len(batch.tokens)
        if not 0 < n <= self.n_batch:
            raise ArgumentError(f"a batch of {n} tokens; this context takes 1 to {self.n_batch}")
        if n_top != self.n_top:
            self._resize_top(n_top)
        try:
            # array checks the range; ctypes would cut numbers to their low bits.
            self.tokens[:n] = array("i", batch.tokens)
            self.seq_ids[:n] = array("i", batch.seq_ids)
            self.outputs[:n] = array("b", batch.outputs)
        except (TypeError, ValueError, OverflowError) as error:
            raise ArgumentError(
                f"the batch does not hold {n} whole rows of token, sequence and output: {error}"
            ) from None
        self.batch.n_tokens = n
        return self.batch, self.step

    def read(self, batch: Batch, step: _ffi.step) -> StepResult:
        n = step.n_sampled
        seq_ids = batch.seq_ids
        sampled = [
            Sampled(row, seq_ids[row], token, logprob, self._top(i) if logprob == logprob else ())
            for i, (row, token, logprob) in enumerate(
                zip(self.rows[:n], self.sampled[:n], self.logprobs[:n], strict=True)
            )
        ]
        return StepResult(sampled, step.decode_us, step.sample_us, list(self.lost[: step.n_lost]))

    def _top(self, index: int) -> tuple[tuple[int, float], ...]:
        start, end = index * self.n_top, (index + 1) * self.n_top
        pairs = zip(self.top_tokens[start:end], self.top_logprobs[start:end], strict=True)
        return tuple((token, logprob) for token, logprob in pairs if token >= 0)
