"""Replies from a model in this process."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..chat import ChatPrompt
from ..context import Context
from ..errors import CacheFull, DecodeError
from ..moe_cache import MoeCache, MoeCounts
from ..sampling import SamplingParams
from ..text import Pieces, TextStream
from .prefix import PrefixCache
from .session import Finish, Message, Reply, ReplyEnd, context_full


class LocalSpeaker:
    """Answers with one context, whose sequence 0 it has for itself.

    Args:
        n_predict: most tokens of one reply; -1: as many as there is room for.
    """

    def __init__(self, context: Context, sampling: SamplingParams, n_predict: int = -1) -> None:
        self.context = context
        self._model = context.model
        self._sampling = sampling
        self._n_predict = n_predict
        self._pieces = Pieces(context.model)
        self._stopping = False
        self.cache = PrefixCache(context)

    def reply(self, messages: Sequence[Message]) -> Reply:
        """Answer a conversation.

        Raises:
            CacheFull: it leaves no room for a reply.
            ChatError: the model's template refuses it.
            DecodeError: the engine failed.
        """
        return self._run(self._model.apply_chat_template(messages))

    def complete(self, text: str) -> Reply:
        """Go on with a text. Raises `CacheFull` and `DecodeError`."""
        return self._run(ChatPrompt.of_text(text))

    def _run(self, chat: ChatPrompt) -> Reply:
        self._stopping = False
        before = self.context.moe_cache()
        growing = self._begin(chat)
        for token in self._tokens(growing):
            text = growing.push(token)
            if text:
                yield text
            if growing.stream.stop is not None:
                break
        tail = growing.flush()
        if tail:
            yield tail
        return growing.end(self.cache.n_ctx, self._experts_since(before))

    def _experts_since(self, before: MoeCache | None) -> MoeCounts | None:
        now = self.context.moe_cache()
        return now.total - before.total if now and before else None

    def stop(self) -> None:
        """End the reply after its next token. Before it has begun this does nothing."""
        self._stopping = True

    def abort(self) -> None:
        """End the reply within its step; the cache is lost. Between two steps: as `stop`."""
        self._stopping = True
        self.context.interrupt()

    def _begin(self, chat: ChatPrompt) -> Growing:
        prompt = self._model.tokenize(chat.prompt, parse_special=True)
        if len(prompt) >= self.cache.n_ctx:
            raise CacheFull(context_full(len(prompt), self.cache.n_ctx))
        n_reused = self.cache.keep_prefix(prompt)
        self.context.set_sampler(0, self._sampling, prompt)
        return Growing(prompt, n_reused, TextStream(self._pieces, chat.stops))

    def _tokens(self, growing: Growing) -> Iterator[int]:
        token = self._prefill(growing.prompt[growing.n_reused :])
        while token is not None and not self._model.is_eog(token):
            yield token
            if growing.n_tokens == self._n_predict:
                growing.finish = "length"
                return
            if len(self.cache) == self.cache.n_ctx:
                growing.finish = "context"
                return
            token = self._step([token], sample=True)
        growing.finish = "interrupted" if token is None else "stop"

    def _prefill(self, prompt: Sequence[int]) -> int | None:
        """The first token of the reply, or None if it was stopped."""
        n_batch = self.context.n_batch
        last = (len(prompt) - 1) // n_batch * n_batch
        for begin in range(0, last, n_batch):
            self._step(prompt[begin : begin + n_batch], sample=False)
        return self._step(prompt[last:], sample=True)

    def _step(self, tokens: Sequence[int], *, sample: bool) -> int | None:
        if self._stopping:
            return None
        try:
            return self.cache.step(tokens, sample=sample)
        except DecodeError:
            if self._stopping:
                return None
            raise


@dataclass
class Growing:
    """A reply that has not ended yet."""

    prompt: list[int]
    n_reused: int
    stream: TextStream
    finish: Finish = "stop"
    n_tokens: int = 0
    _shown: list[str] = field(default_factory=list)
    _first_s: float = 0.0
    _last_s: float = 0.0

    def push(self, token: int) -> str:
        """The text that one more token sets free."""
        self._last_s = time.perf_counter()
        self._first_s = self._first_s or self._last_s
        self.n_tokens += 1
        return self._show(self.stream.push([token]))

    def flush(self) -> str:
        """The text that was held back."""
        return self._show(self.stream.flush())

    def end(self, n_ctx: int, experts: MoeCounts | None) -> ReplyEnd:
        """The whole of it."""
        seconds = self._last_s - self._first_s
        return ReplyEnd(
            text="".join(self._shown),
            finish=self.finish,
            n_prompt=len(self.prompt),
            n_reused=self.n_reused,
            n_tokens=self.n_tokens,
            n_ctx=n_ctx,
            tokens_per_s=(self.n_tokens - 1) / seconds if seconds > 0 else None,
            experts=experts,
        )

    def _show(self, text: str) -> str:
        self._shown.append(text)
        return text
