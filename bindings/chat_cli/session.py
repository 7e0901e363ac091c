"""A conversation and what it needs of whoever answers. Knows no engine and no terminal."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from ..moe_cache import MoeCounts

Message = dict[str, str]
"""`role` and `content`, as chat templates and OpenAI's API have them."""

Finish = Literal["stop", "length", "context", "interrupted"]


@dataclass(frozen=True)
class ReplyEnd:
    """A whole reply and the numbers around it."""

    text: str
    finish: Finish
    """The model ended it; it reached `n_predict`; the context is full; the user stopped it."""
    n_prompt: int
    """Tokens of the conversation before the reply."""
    n_reused: int
    """Those of them that were still in the cache."""
    n_tokens: int
    """Tokens of the reply."""
    n_ctx: int
    """Tokens that the context can hold; 0: a server does not say."""
    tokens_per_s: float | None = None
    """From the first token on; None for replies too short to tell."""
    memory_bytes: int = 0
    """What the conversation holds on the server; 0: it does not say."""
    experts: MoeCounts | None = None
    """What the cache of experts did meanwhile; None where there is none."""

    @property
    def n_used(self) -> int:
        """Tokens of the conversation, reply included."""
        return self.n_prompt + self.n_tokens


Reply = Generator[str, None, ReplyEnd]
"""The text of a reply, piece by piece; returns its end."""


class Speaker(Protocol):
    """Who answers: a model in this process, or a server."""

    def reply(self, messages: Sequence[Message]) -> Reply:
        """Answer a conversation. Raises `PannierError`."""
        ...

    def stop(self) -> None:
        """From another thread: end the reply that runs after its next token."""
        ...

    def abort(self) -> None:
        """From another thread: end it at once, whatever that costs the next one."""
        ...


class Session:
    """The messages of one conversation. Turns that fail leave it as it was."""

    def __init__(self, speaker: Speaker, system_prompt: str | None = None) -> None:
        self.speaker = speaker
        self.system_prompt = system_prompt
        self.messages: list[Message] = []
        self.clear()

    def clear(self) -> None:
        """Begin anew, with the same system prompt."""
        system = self.system_prompt
        self.messages = [{"role": "system", "content": system}] if system else []

    def undo(self) -> str | None:
        """Take the last turn back; what the user had said, None if there is none."""
        if len(self.messages) < 2 or self.messages[-1]["role"] != "assistant":
            return None
        asked = self.messages[-2]["content"]
        self.messages = self.messages[:-2]
        return asked

    def say(self, text: str) -> Reply:
        """One turn: the user's text, then the reply as it comes.

        The turn is kept when the reply has ended, one that was cut off too; not
        if it was stopped before it showed anything.

        Raises what the speaker raises; then nothing is kept.
        """
        asked = [*self.messages, {"role": "user", "content": text}]
        end = yield from self.speaker.reply(asked)
        if end.text or end.finish != "interrupted":
            self.messages = [*asked, {"role": "assistant", "content": end.text}]
        return end


def is_message(value: object) -> bool:
    """Whether a value read from a file can be a message."""
    return isinstance(value, dict) and value.keys() == {"role", "content"} and all(
        isinstance(part, str) for part in value.values()
    )  # fmt: skip


def context_full(n_tokens: int, n_ctx: int) -> str:
    """What to say when a conversation has outgrown its context."""
    return (
        f"the context is full: the conversation has {n_tokens} tokens, the context has room for "
        f"{n_ctx}; /clear begins a new conversation, a larger -c at the start makes room"
    )
