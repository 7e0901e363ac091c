"""The file to be written: which shard holds what, and pannier's part of the metadata."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gguf

from ..errors import ConvertError
from ..placement import RESERVED, RESERVED_BYTES, Placement
from .imatrix import ImportanceMatrix
from .recipes import FILE_TYPES
from .table import TensorPlan

Values = dict[str, Any]
"""Metadata: key to gguf.GGUFValue."""

ALIGNMENT = gguf.GGUF_DEFAULT_ALIGNMENT

_SHARD_NAME = "{stem}-{number:05d}-of-{count:05d}.gguf"
"""What llama.cpp looks for (`llama_split_path`, src/llama.cpp)."""


def padded(n_bytes: int) -> int:
    """Bytes up to where the next tensor of a file may begin."""
    return int(gguf.GGUFWriter.ggml_pad(n_bytes, ALIGNMENT))


def shard_paths(out: Path, count: int) -> list[Path]:
    """Names of a file's shards: its own for one, llama.cpp's pattern for more."""
    if count == 1:
        return [out]
    stem = out.name.removesuffix(".gguf")
    return [
        out.with_name(_SHARD_NAME.format(stem=stem, number=number, count=count))
        for number in range(1, count + 1)
    ]


def shards_of(plans: Sequence[TensorPlan], split_experts: bool) -> list[list[TensorPlan]]:
    """Tensors of each shard. Raises ConvertError where there are no experts to split off."""
    if not split_experts:
        return [list(plans)]
    shards = [
        [plan for plan in plans if (plan.role == "experts") is experts] for experts in (False, True)
    ]
    if not all(shards):
        raise ConvertError("--split-experts: this model has no routed experts; leave it out")
    return shards


def placement_values(placement: Placement) -> Values:
    """The placement and the reserve, last in the file's metadata."""
    kinds = {"patterns": "STRING", "devices": "STRING", "bytes": "UINT64"}
    values = {}
    for key, value in placement.to_metadata().items():
        kind = kinds.get(key.rpartition(".")[2])
        values[key] = array(value, kind) if kind else scalar(value, "UINT32")
    return values | {RESERVED: scalar(" " * RESERVED_BYTES, "STRING")}


def recipe_values(
    quant: str, native_file_type: int | None, imatrix: ImportanceMatrix | None
) -> Values:
    """What llama-quantize writes about the quantisation.

    native_file_type: of a checkpoint that is quantised itself and stays so.
    """
    file_type = FILE_TYPES[quant] if native_file_type is None else native_file_type
    values = {
        "general.file_type": scalar(file_type, "UINT32"),
        "general.quantization_version": scalar(gguf.GGML_QUANT_VERSION, "UINT32"),
    }
    if imatrix is not None:
        values |= {
            "quantize.imatrix.file": scalar(imatrix.path.name, "STRING"),
            "quantize.imatrix.entries_count": scalar(len(imatrix.entries), "UINT32"),
            "quantize.imatrix.chunks_count": scalar(imatrix.n_chunks, "UINT32"),
        }
        if imatrix.datasets:
            values["quantize.imatrix.dataset"] = scalar(imatrix.datasets[0], "STRING")
    return values


def split_values(number: int, count: int, n_tensors: int) -> Values:
    """What each shard of a set says about itself; nothing for a single file."""
    if count == 1:
        return {}
    return {
        "split.no": scalar(number, "UINT16"),
        "split.count": scalar(count, "UINT16"),
        "split.tensors.count": scalar(n_tensors, "INT32"),
    }


def scalar(value: Any, kind: str) -> Any:
    return gguf.GGUFValue(value, gguf.GGUFValueType[kind])


def array(value: list[Any], kind: str) -> Any:
    return gguf.GGUFValue(value, gguf.GGUFValueType.ARRAY, gguf.GGUFValueType[kind])
