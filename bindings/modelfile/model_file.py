"""A model file that has been checked, to be read without the engine."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .header import TensorInfo
from .hyperparameters import check_hyperparameters
from .layers import check_layers
from .overrides import Row, overridden
from .shards import read_set
from .template import check_templates
from .vocabulary import check_vocabulary
from .weights import check_weights


@dataclass(frozen=True)
class ModelFile:
    """What a GGUF file, or a split set of them, says about itself."""

    path: Path
    """The file that was opened, the first one of a set."""
    shards: tuple[Path, ...]
    """All files of the set."""
    version: int
    metadata: Mapping[str, object]
    """Values of the first file: numbers, `str`, and sequences for arrays (`arrays.py`)."""
    types: Mapping[str, str]
    """GGUF's word for the type of each value of `metadata`."""
    tensors: tuple[TensorInfo, ...]
    """In file order over all shards."""

    @property
    def n_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.n_bytes for tensor in self.tensors)

    @property
    def architecture(self) -> str:
        """llama.cpp's name of the architecture, e.g. "qwen3next"."""
        return str(self.metadata["general.architecture"])


def open_model_file(path: str | os.PathLike[str], overrides: Sequence[Row] = ()) -> ModelFile:
    """Check a GGUF file and the others of its split set, and return what they say.

    `overrides` are values in place of the file's own.
    Nothing native sees the file, and no weight is read. Raises ModelError for a file that is
    missing, damaged, or made to hurt a loader; the message names the field and its value.
    """
    headers = read_set(Path(path))
    first = headers[0]
    metadata = overridden(first.metadata, overrides)
    check_hyperparameters(first.path, metadata)
    check_vocabulary(first.path, metadata)
    check_templates(first.path, metadata)
    for header in headers:
        check_weights(header.path, header.tensors)
    file = ModelFile(
        path=first.path,
        shards=tuple(header.path for header in headers),
        version=first.version,
        metadata=metadata,
        types=first.types,
        tensors=tuple(tensor for header in headers for tensor in header.tensors),
    )
    check_layers(file.path, file.architecture, file.tensors)
    return file
