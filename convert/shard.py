"""One GGUF file, written front to back: header first, then each tensor once."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray
from rich.filesize import decimal

from ..errors import ConvertError
from .layout import Values, padded
from .table import TensorPlan


class Shard:
    """Knows where every tensor goes before the first byte is written."""

    def __init__(self, path: Path, metadata: Values, plans: Sequence[TensorPlan]) -> None:
        self._writer = gguf.GGUFWriter(path, metadata["general.architecture"].value)
        self._writer.kv_data[0].update(metadata)
        for plan in plans:
            kind = gguf.GGMLQuantizationType[plan.type]
            shape = tuple(reversed(plan.shape))
            # the dtype is looked at only where no type is given
            self._writer.add_tensor_info(plan.name, shape, np.dtype("f4"), plan.n_bytes, kind)
        self.n_data_bytes = sum(padded(plan.n_bytes) for plan in plans)
        self._file: Any = None

    def begin(self) -> None:
        """Write the header, and have the file system set the room for the tensors aside."""
        self._writer.write_header_to_file()
        self._writer.write_kv_data_to_file()
        self._writer.write_ti_data_to_file()
        self._file = self._writer.fout[0]
        self._pad(self._file.tell())
        self._file.flush()
        allocate(self._file.fileno(), self._file.tell() + self.n_data_bytes)

    def write(self, data: NDArray[np.uint8]) -> None:
        """Append bytes of the tensor that is due."""
        self._file.write(data)

    def end_tensor(self, plan: TensorPlan) -> None:
        """Fill up to where the next tensor begins."""
        self._pad(plan.n_bytes)

    def close(self) -> None:
        """Let the disk have it all."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._writer.close()

    def _pad(self, n_bytes: int) -> None:
        self._file.write(bytes(padded(n_bytes) - n_bytes))


def allocate(descriptor: int, n_bytes: int) -> None:
    """Claim room on the disk, so that a full one shows now and not in an hour."""
    if not hasattr(os, "posix_fallocate"):
        os.truncate(descriptor, n_bytes)
        return
    try:
        os.posix_fallocate(descriptor, 0, n_bytes)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise ConvertError(
                f"the disk has no room for {decimal(n_bytes)}: {error.strerror}; choose another "
                "place with -o or a smaller --quant"
            ) from error
        with suppress(OSError):  # a file system that cannot: the writes will say
            os.truncate(descriptor, n_bytes)
