"""A sampler over logits that its caller brings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from . import _ffi
from .errors import ClosedError
from .owner import Owner
from .sampler import native_sampler
from .sampling import SamplingParams

if TYPE_CHECKING:
    from .model import Model


class Sampler(Owner):
    """Chooses tokens from logits: what fits the grammar, then llama.cpp's samplers in their order.

    It looks back on what it was told with `accept`. One thread at a time uses it; its model may
    be closed meanwhile, and then it raises ClosedError.

    Args:
        n_ctx: what a look back of -1 means; 0 is the model's training context.

    Raises ArgumentError for a value or grammar that llama.cpp cannot take.
    """

    def __init__(self, model: Model, params: SamplingParams, n_ctx: int = 0) -> None:
        self.model = model
        self._lib = _ffi.library()
        raw, _keep_alive = native_sampler(params, 0)
        handle = _ffi.Handle()
        n_ctx = n_ctx or model.n_ctx_train
        with model.gate:
            self._lib.check(
                self._lib.sampler_create(model.handle, _ffi.byref(raw), n_ctx, _ffi.byref(handle))
            )
        self._handle = handle

    def choose(self, logits: npt.NDArray[np.float32]) -> int:
        """The token that the samplers take from logits, [n_vocab]. It is not accepted yet.

        Raises ArgumentError where no token is possible.
        """
        row = np.ascontiguousarray(logits, dtype=np.float32)
        token = _ffi.int32()
        pointer = _ffi.float32_pointer(row.ctypes.data)
        with self.model.gate:
            self._lib.check(
                self._lib.sampler_choose(self._open(), pointer, row.size, _ffi.byref(token))
            )
        return int(token.value)

    def accept(self, token: int) -> None:
        """Note that this token was taken. Raises ArgumentError for one outside the vocabulary."""
        with self.model.gate:
            self._lib.check(self._lib.sampler_accept(self._open(), token))

    def close(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            self._lib.sampler_free(handle)

    def _open(self) -> _ffi.Handle:
        if self._handle is None:
            raise ClosedError("the sampler is closed")
        return self._handle
