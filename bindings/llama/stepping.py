"""Token by token: `eval`, `sample`, `generate` and states, about one sequence of their own."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ArgumentError
from ..free_sampler import Sampler
from .cache import BaseLlamaCache, n_common
from .callables import Logits, LogitsProcessorList, StoppingCriteriaList
from .core import Core
from .grammar import LlamaGrammar
from .position import LlamaState
from .sampling import Chain
from .tokens import Wanted, all_logits, choose, last_logits, log_softmax, stepped


class Stepping(Core):
    """Tokens that were evaluated, and what may come behind them."""

    @property
    def n_tokens(self) -> int:
        """Tokens that `eval` and `generate` left."""
        return len(self._position.tokens)

    @n_tokens.setter
    def n_tokens(self, n: int) -> None:
        with self._position_lock:
            self._position.cut(n)

    @property
    def input_ids(self) -> npt.NDArray[np.intc]:
        """Their ids, [n_ctx], zeros behind them."""
        return self._position.input_ids

    @property
    def scores(self) -> npt.NDArray[np.single]:
        """Their logits, [n_ctx, n_vocab] with logits_all=True, zeros otherwise."""
        return self._position.scores

    @property
    def eval_tokens(self) -> deque[int]:
        """Their ids."""
        return deque(self._position.tokens, maxlen=self.n_ctx())

    @property
    def eval_logits(self) -> deque[list[float]]:
        """Their logits, [n_tokens][n_vocab] with logits_all=True; otherwise zeros for the last."""
        n_kept = self.n_ctx() if self._arguments.logits_all else 1
        return deque(self.scores[: self.n_tokens].tolist(), maxlen=n_kept)

    def reset(self) -> None:
        """Begin anew: `eval` starts a sequence."""
        with self._position_lock:
            self._position.cut(0)

    def eval(self, tokens: Sequence[int]) -> None:
        """Compute tokens behind those that are there. One thread at a time."""
        if not len(tokens):
            return
        with self._position_lock:
            before = self._position.tokens
            every = self._arguments.logits_all
            rows = all_logits(
                self._computing(),
                [*before, *tokens],
                self._adapters,
                n_last=len(tokens) if every else 1,
            )
            self._position.note(tokens, rows, all=every)

    def sample(
        self,
        top_k: int = 40,
        top_p: float = 0.95,
        min_p: float = 0.05,
        typical_p: float = 1.0,
        temp: float = 0.80,
        repeat_penalty: float = 1.0,
        frequency_penalty: float = 0.0,
        presence_penalty: float = 0.0,
        tfs_z: float = 1.0,
        mirostat_mode: int = 0,
        mirostat_eta: float = 0.1,
        mirostat_tau: float = 5.0,
        penalize_nl: bool = True,
        logits_processor: LogitsProcessorList | None = None,
        grammar: LlamaGrammar | None = None,
        idx: int | None = None,
    ) -> int:
        """A token behind the last one, or behind the one of index `idx`; it is not evaluated."""
        chain = Chain(
            *(top_k, top_p, min_p, typical_p, temp, repeat_penalty, frequency_penalty),
            *(presence_penalty, tfs_z, mirostat_mode, mirostat_tau, mirostat_eta),
        )
        params = chain.params(self._seed, self._arguments.last_n_tokens_size, grammar)
        with self._position_lock, Sampler(self._model, params, self.n_ctx()) as sampler:
            tokens = self._position.tokens
            if not tokens:
                raise ArgumentError("nothing to sample after: call eval with tokens first")
            index = len(tokens) - 1 if idx is None else idx
            row = self._position.row(
                index, lambda: last_logits(self._computing(), tokens, self._adapters)
            )
            return choose(sampler, tokens[: index + 1], row, logits_processor)

    def generate(
        self,
        tokens: Sequence[int],
        top_k: int = 40,
        top_p: float = 0.95,
        min_p: float = 0.05,
        typical_p: float = 1.0,
        temp: float = 0.80,
        repeat_penalty: float = 1.0,
        reset: bool = True,
        frequency_penalty: float = 0.0,
        presence_penalty: float = 0.0,
        tfs_z: float = 1.0,
        mirostat_mode: int = 0,
        mirostat_tau: float = 5.0,
        mirostat_eta: float = 0.1,
        penalize_nl: bool = True,
        logits_processor: LogitsProcessorList | None = None,
        stopping_criteria: StoppingCriteriaList | None = None,
        grammar: LlamaGrammar | None = None,
    ) -> Generator[int, Sequence[int] | None, None]:
        """Sampled tokens behind these, without an end: the end of generation is a token like
        others. What is sent in is put behind the last one. With reset=False they follow what was
        evaluated before.
        """
        chain = Chain(
            *(top_k, top_p, min_p, typical_p, temp, repeat_penalty, frequency_penalty),
            *(presence_penalty, tfs_z, mirostat_mode, mirostat_tau, mirostat_eta),
        )
        prompt = [*([] if reset else self._position.tokens), *tokens]
        if not prompt:
            raise ArgumentError("nothing to generate after: give tokens")
        last_n = self._arguments.last_n_tokens_size
        wanted = Wanted(
            sampling=chain.params(self._seed, last_n, grammar),
            max_tokens=self._n_left(prompt),
            processor=chain.processor(logits_processor, len(prompt), last_n),
            criterion=stopping_criteria,
            adapters=self._adapters,
        )
        source = stepped(self._computing(), prompt, wanted, ends=False, note=self._note)
        sent: Sequence[int] | None = None
        try:
            while True:
                sent = yield source.send(sent).id
        except StopIteration:
            return
        finally:
            source.close()

    def _note(self, tokens: Sequence[int], logits: Logits) -> None:
        """These tokens were evaluated, for `sample`, `scores` and `save_state`."""
        every = self._arguments.logits_all
        with self._position_lock:
            known = n_common(self._position.tokens, tokens)
            n_new = len(tokens) - known
            rows = [logits]
            if every and n_new > 1:
                rows = all_logits(self._computing(), tokens, self._adapters, n_last=n_new)
            self._position.cut(known)
            self._position.note(tokens[known:], rows, all=every and n_new > 0)

    def save_state(self) -> LlamaState:
        """Tokens that were evaluated, their logits, and the seed."""
        with self._position_lock:
            return self._position.save(self._seed)

    def load_state(self, state: LlamaState) -> None:
        """Go on from a saved state. What the engine does not hold any more is computed again."""
        with self._position_lock:
            self._position.load(state)
        self.set_seed(state.seed)

    @staticmethod
    def logits_to_logprobs(logits: Any, axis: int = -1) -> npt.NDArray[np.single]:
        """Natural logarithms of the probabilities that logits mean."""
        rows = np.moveaxis(np.asarray(logits, dtype=np.single), axis, -1)
        return np.moveaxis(log_softmax(rows), -1, axis)

    @staticmethod
    def longest_token_prefix(a: Sequence[int], b: Sequence[int]) -> int:
        """How many tokens at the beginning are the same."""
        return n_common(a, b)

    def set_cache(self, cache: BaseLlamaCache | None) -> None:
        """Load the state of the longest beginning that a cache has before each completion, and
        save one after it. Only for caches that several Llamas share: the engine keeps prefixes."""
        self.cache = cache

    def _saver(self, prompt: list[int]) -> Callable[[Sequence[int]], None] | None:
        """What saves the state of a completion's tokens; the cache's state is loaded."""
        cache = self.cache
        if cache is None:
            return None
        with contextlib.suppress(KeyError):
            state = cache[prompt]
            known = self.longest_token_prefix(self._position.tokens, prompt)
            if (
                self.longest_token_prefix(state.input_ids[: state.n_tokens].tolist(), prompt)
                > known
            ):
                self.load_state(state)

        def save(tokens: Sequence[int]) -> None:
            with self._position_lock:
                self._position.cut(0)
                self._position.tokens = [*prompt, *tokens]
                cache[self._position.tokens] = self._position.save(self._seed)

        return save
