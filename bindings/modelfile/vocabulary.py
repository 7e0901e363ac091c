"""Rules for the vocabulary in a file's metadata.

What llama.cpp's `llama-vocab.cpp` takes on trust: a token that stands twice ends in an assertion,
and so does text that gets a BOS which is not there; a token is inserted into tries by recursion
over its bytes; a byte token is parsed from fixed places.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from .arrays import NumberArray, StringArray
from .reader import refuse
from .uniqueness import first_duplicate

PREFIX = "tokenizer.ggml."
MAX_TOKEN = 4096
"""Bytes of one token; the longest known is 1,024 blanks."""
MAX_TOKEN_PLAMO = 256
"""PLaMo's tokenizer takes time and memory by the cube of a token's length."""
MAX_TOKENS = 1 << 21

_BYTE = 6  # LLAMA_TOKEN_TYPE_BYTE
_BYTE_TOKEN = re.compile(rb"<0x[0-9A-Fa-f]{2}>")
_ESCAPE = re.compile(rb"\\x([0-9a-f]{2})|\\(.)", re.DOTALL)
_CONTROL = {b"t": b"\t", b"n": b"\n", b"r": b"\r"}


@dataclass(frozen=True)
class Tokenizer:
    """What llama.cpp assumes for a kind of tokenizer if the file does not say."""

    bos: int = -1
    eos: int = -1
    sep: int = -1
    adds_bos: bool = False
    adds_eos: bool = False
    adds_sep: bool = False


TOKENIZERS = {
    "llama": Tokenizer(bos=1, eos=2, adds_bos=True),
    "bert": Tokenizer(bos=101, sep=102, adds_bos=True, adds_sep=True),
    "gpt2": Tokenizer(bos=11, eos=11),
    "hybriddna": Tokenizer(bos=11, eos=11),
    "whitespace": Tokenizer(bos=11, eos=11),
    "t5": Tokenizer(eos=1, adds_eos=True),
    "rwkv": Tokenizer(),
    "test": Tokenizer(),
    "plamo2": Tokenizer(bos=1, eos=2),
    "plamo3": Tokenizer(bos=1, eos=2),
    "gemma4": Tokenizer(adds_bos=True),
}
BYTE_PAIRS = ("gpt2", "hybriddna", "whitespace", "gemma4")
"""Kinds that are split by a pre-tokenizer, which has something to say about BOS too."""
_PRE_WITH_BOS = frozenset(
    {
        "llama3",
        "llama-v3",
        "llama-bpe",
        "falcon3",
        "falcon-h1",
        "pixtral",
        "midm-2.0",
        "lfm2",
        "jina-v5-nano",
        "tekken",
        "chameleon",
    }
)
_PRE_WITHOUT_DEFAULT = ("chatglm-bpe", "glm4", "glm5")
_PRE_FORCES_BOS = "gemma4"


def check_vocabulary(path: Path, metadata: Mapping[str, object]) -> None:
    """Refuse a vocabulary that would hurt llama.cpp. Raises ModelError."""
    model = metadata.get(f"{PREFIX}model")
    if model in ("none", "no_vocab"):
        refuse(path, f"{PREFIX}model is {model!r}: there is no vocabulary", "pannier needs one")
    tokenizer = TOKENIZERS.get(str(model))
    if tokenizer is None:
        known = ", ".join(TOKENIZERS)
        refuse(path, f"{PREFIX}model is {model!r}; llama.cpp knows {known}", "update pannier")
    tokens = metadata.get(f"{PREFIX}tokens")
    if not isinstance(tokens, StringArray):
        refuse(path, f"{PREFIX}tokens is {_kind(tokens)}; it must be an array of strings")
    rules = _Rules(path, metadata, str(model), tokenizer, tokens)
    rules.check_tokens()
    rules.check_per_token()
    rules.check_byte_tokens()
    rules.check_special()
    if model == "rwkv":
        rules.check_rwkv()


class _Rules:
    def __init__(
        self,
        path: Path,
        metadata: Mapping[str, object],
        model: str,
        tokenizer: Tokenizer,
        tokens: StringArray,
    ) -> None:
        self.path = path
        self.metadata = metadata
        self.model = model
        self.tokenizer = tokenizer
        self.tokens = tokens

    def refuse(self, problem: str) -> NoReturn:
        refuse(self.path, problem)

    def check_tokens(self) -> None:
        """How many there are, how long, and that none stands twice."""
        n = len(self.tokens)
        if not 1 <= n <= MAX_TOKENS:
            self.refuse(f"{PREFIX}tokens has {n} tokens; it must have 1 to {MAX_TOKENS}")
        most = MAX_TOKEN_PLAMO if self.model.startswith("plamo") else MAX_TOKEN
        size = int(self.tokens.lengths.max())
        if size > most:
            longest = int(self.tokens.lengths.argmax())
            self.refuse(f"token {longest} is {size} bytes long; {most} is the most")
        pair = first_duplicate(self.tokens)
        if pair:
            text = self.tokens[pair[1]]
            self.refuse(f"tokens {pair[0]} and {pair[1]} are both {text!r}")

    def check_per_token(self) -> None:
        """Scores and types have one element for each token."""
        for name, types in (("scores", ("f32", "i32")), ("token_type", ("i32",))):
            key = PREFIX + name
            array = self.metadata.get(key)
            if array is None:
                continue
            if not isinstance(array, NumberArray) or array.type not in types:
                self.refuse(f"{key} is {_kind(array)}; it must be an array of {' or '.join(types)}")
            if len(array) < len(self.tokens):
                self.refuse(f"{key} has {len(array)} elements for {len(self.tokens)} tokens")

    def check_byte_tokens(self) -> None:
        """A token of the type "byte" is written <0x0A>; a WordPiece vocabulary has none."""
        types = self.metadata.get(f"{PREFIX}token_type")
        if not isinstance(types, NumberArray) or self.model in ("rwkv", "test"):
            return
        for index in np.flatnonzero(types.values[: len(self.tokens)] == _BYTE):
            text = self.tokens.raw(int(index))
            if self.model == "bert" or not _BYTE_TOKEN.fullmatch(text):
                self.refuse(
                    f"token {index} is of the type byte and {text[:32]!r}; it must be <0x00> to "
                    "<0xFF>, and a bert vocabulary has none"
                )

    def check_special(self) -> None:
        """A token that llama.cpp adds to a text exists, or adding it is an assertion."""
        kind = self.tokenizer
        pre = self.metadata.get(f"{PREFIX}pre") if self.model in BYTE_PAIRS else None
        bos = -1 if pre in _PRE_WITHOUT_DEFAULT else kind.bos
        adds_bos = self._adds("add_bos_token", kind.adds_bos or pre in _PRE_WITH_BOS)
        if self.model == "bert":
            self._need("bos_token_id", bos, True)
            self._need("seperator_token_id", kind.sep, True)
        elif self.model not in ("rwkv", "test"):
            forced = _PRE_FORCES_BOS in (pre, self.model)
            self._need("bos_token_id", bos, adds_bos or forced)
            self._need("eos_token_id", kind.eos, self._adds("add_eos_token", kind.adds_eos))

    def _adds(self, name: str, default: bool) -> bool:
        return bool(self.metadata.get(PREFIX + name, default))

    def _need(self, name: str, default: int, needed: bool) -> None:
        given = self.metadata.get(PREFIX + name)
        n = len(self.tokens)
        if needed and default not in range(n) and given not in range(n):
            self.refuse(
                f"the tokenizer adds a token of the id {PREFIX}{name}, which is {given}; there are "
                f"tokens 0 to {n - 1}"
            )

    def check_rwkv(self) -> None:
        """Each byte that begins a token is a token: else llama.cpp's search never ends."""
        texts = [_unescape(text) for text in _raw(self.tokens)]
        alone = {text for text in texts if len(text) == 1}
        for index, text in enumerate(texts):
            if text and text[:1] not in alone:
                self.refuse(f"token {index} begins with {text[:1]!r}, which is no token by itself")


def _raw(tokens: StringArray) -> Iterable[bytes]:
    return (tokens.raw(i) for i in range(len(tokens)))


def _unescape(text: bytes) -> bytes:
    """RWKV's way to write bytes: \\n, \\x0a and the like."""
    if b"\\" not in text:
        return text
    return _ESCAPE.sub(lambda m: bytes([int(m[1], 16)]) if m[1] else _CONTROL.get(m[2], m[2]), text)


def _kind(value: object) -> str:
    if isinstance(value, (NumberArray, StringArray)):
        return f"an array of {value.type}"
    return "missing" if value is None else f"{value!r:.40}"
