"""Which experts the router chose, ubatch by ubatch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from . import _ffi

Numbers = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Routes:
    """What one ubatch's tokens were routed to.

    A step's batch is computed in one or more ubatches. Where all sequences share one cache of an
    attention model, they are pieces of the batch in its order; memories that compute sequences
    together take equally many tokens of each, those of a sequence side by side.

    Attributes:
        rows: [n_tokens] which rows of the step's batch these are, in the order of this ubatch.
        output_rows: [n_outputs] those of them that had an output, in the same order.
        experts: by layer, [n_tokens, n_used], the chosen ones of each token, most weight first
            where the router sorts them. Layers that compute no other rows, in most architectures
            the last, have [n_outputs, n_used]: then there may be no row at all.
    """

    rows: Numbers
    output_rows: Numbers
    experts: dict[int, Numbers]

    @property
    def n_tokens(self) -> int:
        return len(self.rows)


def take_routes(context: _ffi.Handle) -> list[Routes]:
    """What a context has kept, which it forgets. Nobody may decode between the two calls."""
    lib = _ffi.library()
    count = _ffi.size()
    lib.check(lib.routes_take(context, None, 0, _ffi.byref(count)))
    numbers = np.empty(count.value, dtype=np.int32)
    pointer = _ffi.int32_pointer(numbers.ctypes.data)
    lib.check(lib.routes_take(context, pointer, len(numbers), _ffi.byref(count)))
    return list(_ubatches(_Reader(numbers)))


def _ubatches(reader: _Reader) -> Iterator[Routes]:
    while reader.left:
        n_tokens, n_outputs, n_layers = reader.take(3)
        rows, output_rows = reader.take(n_tokens), reader.take(n_outputs)
        experts = {}
        for _ in range(n_layers):
            layer, n_used, n_rows = reader.take(3)
            experts[int(layer)] = reader.take(n_rows * n_used).reshape(n_rows, n_used)
        yield Routes(rows, output_rows, experts)


class _Reader:
    """Numbers in the order of pannier_routes_take."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._numbers) - self._at

    def take(self, n: int) -> Numbers:
        self._at += n
        return self._numbers[self._at - n : self._at]
