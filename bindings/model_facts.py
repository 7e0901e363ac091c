"""What a loaded model says of itself."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path

from . import _ffi
from .errors import ClosedError
from .fim import FimTokens
from .gate import Gate
from .owner import Owner


class ModelFacts(Owner):
    """A native model's sizes, special tokens and metadata."""

    path: Path
    gate: Gate
    """Around calls that `close` must wait for."""
    _lib: _ffi.Library

    @property
    def handle(self) -> _ffi.Handle:
        """The native model. Raises ClosedError after `close()`."""
        if self._handle is None:
            raise ClosedError(f"the model {self.path} is closed")
        return self._handle

    @cached_property
    def _info(self) -> _ffi.model_info:
        info = _ffi.model_info()
        self._lib.check(self._lib.model_get_info(self.handle, _ffi.byref(info)))
        return info

    @property
    def n_vocab(self) -> int:
        return int(self._info.n_vocab)

    @property
    def n_ctx_train(self) -> int:
        """Tokens of context that the model was trained with."""
        return int(self._info.n_ctx_train)

    @property
    def n_embd(self) -> int:
        return int(self._info.n_embd)

    @property
    def n_layer(self) -> int:
        return int(self._info.n_layer)

    @property
    def n_params(self) -> int:
        return int(self._info.n_params)

    @property
    def ftype(self) -> str:
        """Type of most tensors in llama.cpp's words, e.g. "Q4_K - Medium"."""
        return bytes(self._info.ftype).decode()

    @property
    def size_bytes(self) -> int:
        """Bytes of all tensors."""
        return int(self._info.size_bytes)

    @property
    def bos(self) -> int:
        """Token that begins a text; -1 if the vocabulary has none."""
        return int(self._info.bos)

    @property
    def eos(self) -> int:
        """Token that ends a text; -1 if the vocabulary has none."""
        return int(self._info.eos)

    @property
    def sep(self) -> int:
        """Token between two texts; -1 if the vocabulary has none."""
        return int(self._info.sep)

    @property
    def add_bos(self) -> bool:
        """Whether `tokenize(add_special=True)` begins with `bos`."""
        return bool(self._info.add_bos)

    @property
    def add_eos(self) -> bool:
        """Whether `tokenize(add_special=True)` ends with `eos`."""
        return bool(self._info.add_eos)

    @property
    def add_sep(self) -> bool:
        """Whether the model wants `sep` between two texts."""
        return bool(self._info.add_sep)

    @property
    def fim(self) -> FimTokens:
        """Tokens for filling a gap in a text."""
        info = self._info
        return FimTokens(info.fim_pre, info.fim_suf, info.fim_mid, info.fim_rep, info.fim_sep)

    @property
    def is_recurrent(self) -> bool:
        """All layers are recurrent (Mamba, RWKV)."""
        return bool(self._info.is_recurrent)

    @property
    def is_hybrid(self) -> bool:
        """Some layers are recurrent, some attend (Qwen3Next, Jamba)."""
        return bool(self._info.is_hybrid)

    @cached_property
    def description(self) -> str:
        """Architecture, size and type in one line, in llama.cpp's words."""
        return self._lib.text(self._lib.model_description, self.handle)

    @cached_property
    def metadata(self) -> dict[str, str]:
        """The file's key-value pairs as text; long arrays are shortened."""
        text = self._lib.text(self._lib.model_metadata, self.handle)
        return dict(json.loads(text))
