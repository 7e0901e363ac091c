"""What a request has got so far, and how a fresh engine goes on with it.

An engine that ends takes its requests with it. What a client has read cannot be
taken back, so the next engine has to go on from there: greedy and unseeded
requests continue after their tokens so far (any draw is as good as another),
seeded ones run again and must repeat them.
"""

from __future__ import annotations

from dataclasses import replace

from ..sampling import DEFAULT_SEED, SamplingParams
from .messages import AnyRequest, Output, Submit

N_REPLAYS = 1
"""Engines that a request may lose: one that loses more may be what ends them."""

TWICE = "it is the second that ended while it ran this request, which is not tried again"
NO_SEED = "mirostat without a seed cannot go on with another engine; send the request again"
TOO_LONG = (
    "prompt and output so far fill the context of {n_ctx} tokens, so another engine cannot go on; "
    "send the request again"
)
DIVERGED = (
    "the engine was restarted and the seeded output came out differently; send the request again"
)


class Replay:
    """One request's way over the engines that run it."""

    def __init__(self, submit: AnyRequest) -> None:
        self.submit = submit
        """What the next engine is told."""
        self.started = False
        """The engine that has it now has begun with it."""
        self._n_lost = 0
        self._tokens: list[int] = []
        self._due: list[int] = []  # tokens that the engine has to repeat

    def engine_gone(self, n_ctx: int) -> str:
        """Get ready for the next engine. Returns why the request ends instead, or nothing.

        n_ctx: most tokens of one request.
        """
        if not self.started:
            return ""
        self.started = False
        self._n_lost += 1
        if self._n_lost > N_REPLAYS:
            return TWICE
        if not self._tokens:
            return ""
        assert isinstance(self.submit, Submit)  # nothing else gets tokens
        return self._go_on(self.submit, n_ctx)

    def _go_on(self, submit: Submit, n_ctx: int) -> str:
        sampling = submit.sampling
        if not (is_greedy(sampling) or is_free(sampling)):
            self._due = list(self._tokens)
            return "" if sampling.seed != DEFAULT_SEED else NO_SEED
        if len(submit.prompt) + len(self._tokens) >= n_ctx:
            return TOO_LONG.format(n_ctx=n_ctx)
        self.submit = replace(submit, generated=tuple(self._tokens))
        return ""

    def accept(self, output: Output) -> Output | None:
        """The part of an engine's output that is news to the client; None if there is none.

        A seeded output that is not what came before becomes an error.
        """
        self.started = True
        n = min(len(self._due), len(output.tokens))
        if output.tokens[:n] != self._due[:n]:
            return Output(output.id, finish="error", error=DIVERGED, status=503)
        del self._due[:n]
        if self._due and output.finish in ("eos", "length"):
            return Output(output.id, finish="error", error=DIVERGED, status=503)
        if n:
            output.tokens, output.logprobs = output.tokens[n:], output.logprobs[n:]
        self._tokens += output.tokens
        return None if n and not output.tokens and output.finish is None else output


def is_greedy(sampling: SamplingParams) -> bool:
    """The same tokens come out whatever is drawn."""
    if sampling.mirostat or sampling.xtc_probability > 0:
        return False
    if sampling.top_k == 1 and "top_k" in sampling.samplers:
        return True
    cold = sampling.temperature <= 0 and sampling.dynatemp_range <= 0
    return cold and "temperature" in sampling.samplers


def is_free(sampling: SamplingParams) -> bool:
    """Nobody asked for certain draws, and the sampler keeps nothing beside its tokens."""
    return sampling.seed == DEFAULT_SEED and not sampling.mirostat
