"""What a model is loaded with, as the engine takes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import _ffi
from .errors import ArgumentError
from .modelfile.overrides import Row
from .placement import Override

LOAD_MODES = {"auto": -1, "none": 0, "mmap": 1, "mlock": 2, "mmap+mlock": 3, "direct-io": 4,
              "dio": 4}  # fmt: skip
LAZY_MODES = {"off": 0, "auto": 1, "on": 2}
SPLIT_MODES = {"none": 0, "layer": 1, "row": 2, "tensor": 3}


class ModelParams:
    """`pannier_model_params`, and what has to live as long as they do."""

    def __init__(self, devices: Sequence[str], load_mode: str) -> None:
        names = _ffi.texts(devices)
        self.native = _ffi.model_params(
            load_mode=choice(LOAD_MODES, "load_mode", load_mode),
            n_devices=len(devices),
            devices=names,
        )
        self._keep_alive: list[Any] = [names]

    def set_overrides(self, rows: Sequence[Override]) -> None:
        """The rows of tensor overrides; a second call's are in place of the first one's."""
        patterns = _ffi.texts([pattern for pattern, _ in rows])
        buffers = _ffi.texts([buffer for _, buffer in rows])
        self.native.n_overrides = len(rows)
        self.native.override_patterns, self.native.override_buffers = patterns, buffers
        self._keep_alive += [patterns, buffers]

    def set_split(self, shares: Sequence[float]) -> None:
        """Shares of the devices; none: by their free memory."""
        array = _ffi.float32s(shares)
        self.native.n_tensor_split, self.native.tensor_split = len(shares), array
        self._keep_alive.append(array)

    def set_metadata(self, kv_overrides: Sequence[Row]) -> None:
        """What the file's metadata is to say."""
        columns = [_ffi.texts([row[i] for row in kv_overrides]) for i in range(3)]
        self.native.n_kv_overrides = len(kv_overrides)
        self.native.kv_keys, self.native.kv_types, self.native.kv_values = columns
        self._keep_alive += columns


def choice(choices: dict[str, int], name: str, value: str) -> int:
    if value not in choices:
        raise ArgumentError(f"{name} is {value!r}; it must be one of {', '.join(choices)}")
    return choices[value]
