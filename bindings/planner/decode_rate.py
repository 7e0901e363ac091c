"""How fast a configuration decodes here: tried in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..batch import Batch
from ..context import Context
from ..sampling import SamplingParams
from ..server.config import EngineConfig

MOST_CLIENTS = 8
N_WARM = 24
N_TIMED = 64
MOST_SECONDS = 4.0
"""Of one load; a slow machine tells with fewer tokens."""

TEXTS = (
    "Write a function that reads a table from a file and says which of its columns are sorted.",
    "The harbour was built for ships that no longer come; what is left of it is",
    "Explain to a careful reader why the tides are two in a day and not one.",
    "Liste die Schritte auf, mit denen man ein altes Fahrrad wieder fahrbar macht:",
    "def median(values):\n    ordered = sorted(values)\n",
    "Dear colleagues, the meeting of last week decided three things. First,",
    "SELECT name, count(*) FROM visits JOIN places USING (place_id)",
    "A train leaves at noon and another one an hour later. How long until they meet, if",
)
"""Prompts of several kinds, one for each client: the experts that they use differ."""


@dataclass(frozen=True)
class Rates:
    """Tokens per second over all clients: of one alone, and of so many at once."""

    alone: float
    together: float
    n_together: int

    def gain_over(self, other: Rates) -> float:
        """How many times as fast as another, under the load where that is least."""
        return min(self.alone / other.alone, self.together / other.together)


def decode_rate(config: EngineConfig) -> Rates:
    """Load the model as configured, decode for one client and for all, up to eight.

    Raises what the engine says of the configuration.
    """
    from .. import _ffi
    from ..engine.store import open_engine
    from ..server.loading import load_model, make_context

    if config.engine:
        _ffi.load(open_engine(Path(config.engine)).library)
    with (
        load_model(replace(config, strict=False)) as model,
        make_context(model, replace(config, strict=False)) as context,
    ):
        prompts = [model.tokenize(text) for text in TEXTS]
        alone = timed(context, prompts[:1])
        n_together = min(config.n_parallel, MOST_CLIENTS)
        together = timed(context, prompts[:n_together]) if n_together > 1 else alone
        return Rates(alone, together, n_together)


def timed(context: Context, prompts: Sequence[Sequence[int]]) -> float:
    """Tokens per second over these clients, when they have warmed up. Leaves no sequence."""
    room = context.n_ctx_seq if not context.kv_unified else context.n_ctx // len(prompts)
    prompts = [prompt[: max(1, room // 2)] for prompt in prompts]
    most = room - max(map(len, prompts)) - 1
    n_timed = max(1, min(N_TIMED, most * 2 // 3))
    last = [_begin(context, seq, prompt) for seq, prompt in enumerate(prompts)]
    started = time.perf_counter()
    for _ in range(min(N_WARM, max(0, most - n_timed))):
        last = _step(context, last)
        if time.perf_counter() - started > MOST_SECONDS / 2:
            break
    n, started = 0, time.perf_counter()
    while n < n_timed and time.perf_counter() - started < MOST_SECONDS:
        last = _step(context, last)
        n += 1
    rate = n * len(prompts) / (time.perf_counter() - started)
    for seq in range(len(prompts)):
        context.sequence(seq).clear()
        context.clear_sampler(seq)
    return rate


def _begin(context: Context, seq: int, prompt: Sequence[int]) -> int:
    context.set_sampler(seq, SamplingParams(temperature=0.8, seed=seq + 1))
    batch = Batch()
    batch.add(seq, prompt, sample=True)
    return context.step(batch).sampled[0].token


def _step(context: Context, last: Sequence[int]) -> list[int]:
    """One token more for each; the same seeds choose the same tokens in every way, near enough."""
    batch = Batch()
    for seq, token in enumerate(last):
        batch.add(seq, [token], sample=True)
    return [row.token for row in context.step(batch).sampled]
