"""What every handler of one app is given."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from fastapi import Request

from ..chat import ChatFacts, ChatParser, ChatPrompt
from ..sampling import SamplingParams
from ..text import Pieces
from .client import EngineClient
from .messages import Overflow, Ready


class Vocabulary(Protocol):
    """What the HTTP side asks of a model: no weights are needed for it."""

    def tokenize(self, text: str | bytes, *, add_special: bool, parse_special: bool) -> list[int]:
        """Token ids of a text."""
        ...

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """The bytes of one token."""
        ...

    def render_chat(self, request: dict[str, Any]) -> tuple[ChatPrompt, ChatParser | None]:
        """A conversation as the model's template writes it, and the parser of its answer; None:
        the answer is text. Raises `ChatError` and `ArgumentError`."""
        ...

    @property
    def chat_facts(self) -> ChatFacts:
        """What the template can do."""
        ...

    @property
    def bos(self) -> int:
        """Beginning-of-text token; -1 for none."""
        ...

    @property
    def eos(self) -> int:
        """End-of-text token; -1 for none."""
        ...

    @property
    def n_vocab(self) -> int:
        """Number of tokens."""
        ...

    @property
    def n_ctx_train(self) -> int:
        """Context that the model was trained with, in tokens."""
        ...

    @property
    def metadata(self) -> dict[str, str]:
        """The GGUF's metadata as text."""
        ...

    @property
    def size_bytes(self) -> int:
        """Bytes of all tensors."""
        ...

    @property
    def n_params(self) -> int:
        """Number of weights."""
        ...

    @property
    def chat_template(self) -> str | None:
        """Source of the model's template."""
        ...


@dataclass(frozen=True)
class ChatSettings:
    """How conversations become prompts, and answers messages, unless a request says otherwise."""

    template: str = ""
    """In place of the model's own."""
    template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    use_jinja: bool = True
    reasoning: Literal["on", "off", "auto"] = "auto"
    """Whether models think; auto: if the template knows how."""
    reasoning_format: str = "deepseek"
    reasoning_budget: int = -1
    """Most tokens of reasoning; -1: any number."""
    reasoning_budget_message: str = ""
    skip_parsing: bool = False
    """All of an answer is content."""
    prefill_assistant: bool = True
    """A last message of the assistant's is the beginning of the answer."""


@dataclass(frozen=True)
class ServerSettings:
    """What the operator chose for the HTTP side."""

    model_path: str
    aliases: tuple[str, ...] = ()
    api_keys: tuple[str, ...] = ()
    """Empty: no key is asked for."""
    max_body_bytes: int = 64 << 20
    overflow: Overflow = "stop"
    """For requests that do not say what to do when the context is full."""
    chat: ChatSettings = ChatSettings()
    build_info: str = ""
    hang_timeout_s: float = 120.0
    """An engine that has work and says nothing for so long is replaced; 0: never. It answers only
    between steps, so this has to be longer than the longest step."""

    @property
    def model_name(self) -> str:
        """First alias in sorted order, as llama-server, or the file's name."""
        if self.aliases:
            return min(self.aliases)
        return self.model_path.replace("\\", "/").rsplit("/", 1)[-1]


@dataclass
class Serving:
    """One app's engine, vocabulary and settings."""

    client: EngineClient
    vocabulary: Vocabulary
    settings: ServerSettings
    pieces: Pieces
    """As outputs show tokens: control tokens are empty."""
    sampling: SamplingParams
    """What a request that says nothing gets."""
    all_pieces: Pieces
    """As prompts show them: control tokens are spelled out."""
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def info(self) -> Ready:
        """What the engine said when it was ready; the last one's while the next one loads.

        Raises `ServerError` before the first.
        """
        if self.client.info is None:
            self.client.check_alive()
        assert self.client.info is not None
        return self.client.info


def serving(request: Request) -> Serving:
    """The app's, for a handler."""
    state: Serving = request.app.state.serving
    return state
