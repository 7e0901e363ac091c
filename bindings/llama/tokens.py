"""Where a completion's tokens come from.

`streamed` is one request: the engine samples, and goes on while its tokens are read. `stepped` is a
request for each token, which starts from what the one before left: Python functions take part, in
the thread of the caller, and other calls go on meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ..errors import ArgumentError
from ..free_sampler import Sampler
from ..pool import Pool
from ..sampling import SamplingParams
from ..server.messages import Adapters
from .callables import Logits, LogitsProcessor, StoppingCriteria, Tokens
from .coroutines import note as note_call

GREEDY = SamplingParams.greedy()
Note = Callable[[Sequence[int], Logits], object]


class Token(NamedTuple):
    """A token and, where they were asked for, its log-probability and the likeliest others'."""

    id: int
    logprob: float = float("nan")
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Wanted:
    """How tokens are chosen."""

    sampling: SamplingParams
    max_tokens: int
    n_top: int = 0
    """Alternatives to report with each token."""
    processor: LogitsProcessor | None = None
    criterion: StoppingCriteria | None = None
    adapters: Adapters = ()

    last: list[tuple[Tokens, Logits]] = field(default_factory=list)
    """What the criterion was asked about last; none or one."""

    def stops(self, tokens: Sequence[int], logits: Logits) -> bool:
        """Ask the criterion, if there is one."""
        if self.criterion is None:
            return False
        self.last[:] = [(np.array(tokens, dtype=np.intc), logits)]
        return bool(self.criterion(*self.last[0]))

    def stops_after(self) -> bool:
        """Ask it about the same once more, when all is done, as llama-cpp-python does."""
        return bool(self.last and self.criterion is not None and self.criterion(*self.last[0]))

    @property
    def is_stepped(self) -> bool:
        """Python functions take part."""
        return self.processor is not None or self.criterion is not None


def sampled(pool: Pool, prompt: Sequence[int], wanted: Wanted) -> Iterator[Token]:
    """Tokens up to the end of generation, which is not among them, or `max_tokens`."""
    return (stepped if wanted.is_stepped else streamed)(pool, prompt, wanted)


def streamed(pool: Pool, prompt: Sequence[int], wanted: Wanted) -> Iterator[Token]:
    """Sampled by the engine."""
    call = pool.submit(
        prompt,
        wanted.sampling,
        max_tokens=wanted.max_tokens,
        n_probs=wanted.n_top,
        adapters=wanted.adapters,
        prompt_counts=False,
    )
    for output in note_call(call):
        if output.logprobs:
            for row in output.logprobs:
                yield Token(row.token, row.logprob, row.top)
        else:
            yield from map(Token, output.tokens)


def stepped(
    pool: Pool,
    prompt: Sequence[int],
    wanted: Wanted,
    *,
    ends: bool = True,
    note: Note | None = None,
) -> Generator[Token, Sequence[int] | None, None]:
    """Sampled here. What is sent in is put behind the token.

    Args:
        ends: stop at the end of generation; otherwise it is a token like others.
        note: called with the tokens that were computed and the logits behind them.
    """
    tokens = list(prompt)
    with Sampler(pool.model, wanted.sampling, pool.context.n_ctx_seq) as sampler:
        for _ in range(wanted.max_tokens):
            logits = last_logits(pool, tokens, wanted.adapters)
            if note is not None:
                note(tokens, logits)
            token = choose(sampler, tokens, logits, wanted.processor)
            if wanted.stops(tokens, logits):
                return
            if ends and pool.model.is_eog(token):
                return
            tokens.append(token)
            sent = yield with_logprob(token, logits, wanted.n_top)
            tokens.extend(sent or ())


def choose(
    sampler: Sampler, tokens: Sequence[int], logits: Logits, processor: LogitsProcessor | None
) -> int:
    """The next token, accepted. `logits` stay as they are."""
    if processor is not None:
        before = logits.copy()
        logits = np.asarray(processor(np.array(tokens, dtype=np.intc), before), dtype=np.single)
    token = sampler.choose(logits)
    sampler.accept(token)
    return token


def last_logits(pool: Pool, tokens: Sequence[int], adapters: Adapters = ()) -> Logits:
    """Logits behind the last of these tokens, [n_vocab]."""
    return all_logits(pool, tokens, adapters, n_last=1)[-1]


def all_logits(
    pool: Pool, tokens: Sequence[int], adapters: Adapters = (), *, n_last: int | None = None
) -> list[Logits]:
    """Logits behind the last `n_last` tokens, or behind each. More than one are only there in a
    pool with `logits_all`. Raises ArgumentError."""
    n = len(tokens) if n_last is None else n_last
    if n > len(tokens):
        raise ArgumentError(f"logits of {n} tokens; there are {len(tokens)}")
    kind = "last" if n == 1 else "all"
    rows: list[Logits] = []
    call = pool.submit(tokens, GREEDY, max_tokens=0, logits=kind, adapters=adapters)
    for output in note_call(call):
        rows += output.logits
    if len(rows) >= n:
        return rows[-n:]
    rows = []  # the beginning was in the cache
    call = pool.submit(
        tokens, GREEDY, max_tokens=0, logits=kind, adapters=adapters, cache_prompt=False
    )
    for output in note_call(call):
        rows += output.logits
    return rows[-n:]


def with_logprob(token: int, logits: Logits, n_top: int) -> Token:
    """A token with the log-probabilities that logits mean; without, if none are wanted."""
    if not n_top:
        return Token(token)
    rows = log_softmax(logits)
    best = np.argpartition(rows, -n_top)[-n_top:] if n_top < len(rows) else np.arange(len(rows))
    ranked = sorted(best.tolist(), key=lambda one: (-rows[one], -one))
    return Token(token, float(rows[token]), tuple((one, float(rows[one])) for one in ranked))


def log_softmax(logits: Logits) -> Logits:
    """Of each row, [..., n_vocab]."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    found: Logits = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return found
