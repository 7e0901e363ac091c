"""What every handler of one app is given."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from fastapi import Request

from ..chat import ChatFacts, ChatParser, ChatPrompt
from ..fim import FimTokens
from ..sampling import SamplingParams
from ..text import Pieces
from .adapters import AdapterList
from .client import EngineClient
from .ledger import Ledger
from .messages import Ready
from .settings import ServerSettings


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
    def sep(self) -> int:
        """Token between two texts; -1 for none."""
        ...

    @property
    def add_bos(self) -> bool:
        """Whether a text begins with `bos`."""
        ...

    @property
    def add_eos(self) -> bool:
        """Whether a text ends with `eos`."""
        ...

    @property
    def add_sep(self) -> bool:
        """Whether `sep` comes between two texts."""
        ...

    @property
    def fim(self) -> FimTokens:
        """Tokens for filling a gap in a text."""
        ...

    @property
    def eog_tokens(self) -> Collection[int]:
        """Tokens that end generation."""
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
    adapters: AdapterList
    all_pieces: Pieces
    """As prompts show them: control tokens are spelled out."""
    shows_page: bool = False
    """There is a page at `/`."""
    ledger: Ledger = field(init=False)
    media_marker: str = field(default_factory=lambda: f"<__media_{secrets.token_hex(16)}__>")
    """Where a prompt has a picture, in servers that take any."""
    created: int = field(default_factory=lambda: int(time.time()))

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.settings.show_prompts)
        self.adds_bos = bool(self.vocabulary.tokenize("", add_special=True, parse_special=False))

    @cached_property
    def never_end(self) -> dict[int, float]:
        """Biases that forbid the end of an answer."""
        return dict.fromkeys(sorted(self.vocabulary.eog_tokens), -math.inf)

    def n_keep(self, wanted: int) -> int:
        """Tokens that a shift keeps: with the token of the beginning, as in llama-server."""
        return wanted + 1 if wanted >= 0 and self.adds_bos else wanted

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
