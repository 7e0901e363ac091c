"""Rules for the types of tensors: what ggml has no kernel for ends in an abort while computing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from .header import TensorInfo
from .reader import refuse

_NO_WEIGHTS = frozenset({"I8", "I16", "F64", "Q8_1", "Q8_K"})
_INTEGERS = frozenset({"I32", "I64"})
_TABLES = re.compile(r"d2t|t2d|.*tid2eid.*")
"""Tensors that hold ids."""
_SINGLE = (
    ".bias",
    "_norm.weight",
    ".ssm_a",
    ".ssm_d",
    ".ssm_conv1d.weight",
    ".ssm_conv1d_q.weight",
    ".ssm_conv1d_k.weight",
    ".ssm_conv1d_v.weight",
    ".shortconv.conv.weight",
)
"""Ends of names of what ggml's kernels take in single precision only, and so do all vectors."""


def check_weights(path: Path, tensors: Iterable[TensorInfo]) -> None:
    """Refuse tensors of types that ggml cannot compute with. Raises ModelError."""
    for tensor in tensors:
        name, shape, kind = tensor.name, tensor.shape, tensor.type
        if kind == "F32":
            continue
        if kind in _NO_WEIGHTS or (kind in _INTEGERS and not _TABLES.fullmatch(name)):
            refuse(path, f"tensor {name} is of the type {kind}, which ggml cannot compute with")
        if kind not in _INTEGERS and (len(shape) == 1 or name.endswith(_SINGLE)):
            refuse(path, f"tensor {name} is of the type {kind}; it must be F32")
