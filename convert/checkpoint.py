"""A local checkpoint folder: what is in it, and whether it is whole.

Everything here reads file headers only, so a checkpoint of any size is looked through in
moments and without torch.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConvertError

_MAX_HEADER_BYTES = 100_000_000  # the limit that the safetensors library sets itself


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that has all its files."""

    folder: Path
    config: dict[str, Any]
    shards: tuple[Path, ...]
    n_weights: int | None
    """Sum of the tensors' elements; None for PyTorch's own files, which have no cheap header."""
    dtype: str
    """Type of the first tensor with two dimensions or more, as config.json would spell it."""

    @property
    def architecture(self) -> str:
        """The class that llama.cpp's conversion goes by; a text part's own class comes first."""
        for config in (self.config.get("text_config") or {}, self.config):
            if names := config.get("architectures"):
                return str(names[0])
        raise ConvertError(
            f"{self.folder / 'config.json'} names no architecture: add the model class to it as "
            '"architectures": ["..."]'
        )

    @property
    def architectures(self) -> tuple[str, ...]:
        """The architecture of the whole, where it names one, then that of the text part."""
        names = self.config.get("architectures") or ()
        return tuple(dict.fromkeys([*map(str, names[:1]), self.architecture]))


def open_checkpoint(folder: Path) -> Checkpoint:
    """Look a checkpoint folder through.

    Raises ConvertError for a missing folder or config.json, missing, damaged or truncated
    weight files, and weights in a format that cannot be converted.
    """
    if not folder.is_dir():
        raise ConvertError(_no_folder_message(folder))
    config = _read_config(folder)
    shards = _find_shards(folder)
    if shards[0].suffix != ".safetensors":
        return Checkpoint(folder, config, shards, None, str(_config_dtype(config)))
    n_weights, dtype = 0, None
    for shard in shards:
        for shape, name in _read_tensors(shard):
            n_weights += math.prod(shape)
            if dtype is None and len(shape) >= 2:
                dtype = _DTYPES.get(name, "float32")
    return Checkpoint(folder, config, shards, n_weights, dtype or "float32")


_DTYPES = {"BF16": "bfloat16", "F16": "float16"}


def _no_folder_message(folder: Path) -> str:
    if folder.is_file():
        hint = " is a file: name the folder that holds it and its config.json"
        if folder.suffix == ".gguf":
            hint = " is a GGUF file already: `pannier serve -m` takes it as it is"
        return f"{folder}{hint}"
    return (
        f"there is no folder {folder}: SRC is a checkpoint folder on this machine, such as the "
        "one that `hf download ORG/NAME --local-dir DIR` makes"
    )


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise ConvertError(
            f"{folder} has no config.json: it is not a Hugging Face checkpoint folder, or its "
            "download is not complete"
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ConvertError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(config, dict):
        raise ConvertError(f"{path} holds no JSON object")
    return config


def _config_dtype(config: dict[str, Any]) -> object:
    return config.get("dtype") or config.get("torch_dtype") or "float32"


def _find_shards(folder: Path) -> tuple[Path, ...]:
    """The weight files; safetensors first, as upstream's conversion prefers them."""
    for stem, suffix in (("model", ".safetensors"), ("pytorch_model", ".bin")):
        index = folder / f"{stem}{suffix}.index.json"
        if index.is_file():
            return _indexed_shards(index)
        if shards := sorted(folder.glob(f"{stem}*{suffix}")):
            return tuple(shards)
    raise ConvertError(
        f"{folder} has no weights: no model*.safetensors and no pytorch_model*.bin in it"
    )


def _indexed_shards(index: Path) -> tuple[Path, ...]:
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ConvertError(f"{index} is not an index of weight files: {error!r}") from error
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise ConvertError(
            f"{len(missing)} of {len(names)} weight files named in {index} are missing: "
            f"{', '.join(missing[:5])}{' ...' if len(missing) > 5 else ''}; complete the download"
        )
    if not names:
        raise ConvertError(f"{index} names no weight files")
    return tuple(index.parent / name for name in names)


def _read_tensors(shard: Path) -> list[tuple[list[int], str]]:
    """Shape and type name of each tensor of a safetensors file, whose length is checked.

    Format: https://huggingface.co/docs/safetensors, an 8-byte little-endian header length, the
    header in JSON, the data.
    """
    size = shard.stat().st_size
    with shard.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= min(size - 8, _MAX_HEADER_BYTES):
            raise ConvertError(f"{shard} ({size} bytes) is not a safetensors file; fetch it again")
        try:
            header = json.loads(file.read(length))
            tensors = [value for key, value in header.items() if key != "__metadata__"]
            end = 8 + length + max((t["data_offsets"][1] for t in tensors), default=0)
            found = [(list(t["shape"]), str(t["dtype"])) for t in tensors]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConvertError(f"{shard} has a damaged header: {error!r}") from error
    if size < end:
        raise ConvertError(f"{shard} is truncated: {size} bytes of {end}; complete the download")
    return found
