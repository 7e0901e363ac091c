"""Traces as files: JSON, compressed if the name ends in `.gz`.

    {"version": 1,
     "model": {"file", "name", "architecture", "n_layer", "n_expert", "n_expert_used",
               "rest_bytes"},
     "engine": key, "layers": [number], "expert_bytes": [bytes of one expert], "layouts": [number],
     "counts": [[uses of each expert] for each layer],
     "ubatches": [{"n_tokens": n, "sequences": [number of its text] for each token,
                   "experts": [[n_rows * n_expert_used numbers] for each layer]}]}

`sequences` may be missing, if all tokens belong to one text, and so may `rest_bytes`. What is read
is checked: a file may be from anywhere.
"""

from __future__ import annotations

import gzip
import os
import reprlib
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from ..errors import TraceError
from ..part import whole
from .trace import MAX_EXPERTS, Counts, Experts, Trace, TracedModel, Ubatch

VERSION = 1
MAX_BYTES = 1 << 30
"""Of a trace, uncompressed: millions of tokens of the largest models."""
MAX_LAYERS = 1024
MAX_EXPERT_BYTES = 1 << 40


def write_trace(path: Path, trace: Trace) -> None:
    """Write the file whole or not at all. Raises TraceError where it cannot be written."""
    content = orjson.dumps(as_dict(trace)) + b"\n"
    if path.suffix == ".gz":
        content = gzip.compress(content, compresslevel=6, mtime=0)
    try:
        with whole(path) as part:
            part.write_bytes(content)
    except OSError as error:
        raise TraceError(f"cannot write {path}: {error.strerror}") from error


def read_trace(path: str | os.PathLike[str]) -> Trace:
    """Raises TraceError for what is not a trace; the message names the field and its value."""
    try:
        found = orjson.loads(_content(Path(path)))
    except (orjson.JSONDecodeError, UnicodeDecodeError) as error:
        raise TraceError(f"{path} is no trace: it is not JSON: {error}") from None
    try:
        return of_dict(found)
    except TraceError as error:
        raise TraceError(f"{path} is no trace that can be read: {error}") from None


def as_dict(trace: Trace) -> dict[str, Any]:
    """As the file has it."""
    return {
        "version": VERSION,
        "model": vars(trace.model),
        "engine": trace.engine,
        "layers": trace.layers,
        "expert_bytes": trace.expert_bytes,
        "layouts": trace.layouts,
        "counts": trace.counts.tolist(),
        "ubatches": [_ubatch_dict(ubatch) for ubatch in trace.ubatches],
    }


def of_dict(found: Any) -> Trace:
    """The trace behind what a file says. Raises TraceError."""
    top = _object(found, "the file")
    if (version := top.get("version")) != VERSION:
        raise TraceError(f"its version is {version!r}; this pannier reads version {VERSION}")
    model = _model(_object(top.get("model"), "model"))
    layers = _numbers(top, "layers", model.n_layer - 1, MAX_LAYERS)
    if list(layers) != sorted(set(layers)) or not layers:
        raise TraceError(f"layers is {list(layers)}; it has to name layers in rising order")
    n = len(layers)
    trace = Trace(
        model=model,
        engine=_text(top, "engine"),
        layers=layers,
        expert_bytes=_numbers(top, "expert_bytes", MAX_EXPERT_BYTES, n, exactly=True),
        layouts=_numbers(top, "layouts", n - 1, n, exactly=True),
        ubatches=tuple(_ubatches(_list(top, "ubatches"), n, model)),
    )
    _check_counts(trace, _list(top, "counts"))
    return trace


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            is_packed = file.peek(2)[:2] == b"\x1f\x8b"
            source = gzip.GzipFile(fileobj=file) if is_packed else file
            content = source.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise TraceError(f"cannot read {path}: {reason}") from None
    if len(content) > MAX_BYTES:
        raise TraceError(f"{path} has more than {MAX_BYTES >> 20} MiB: that is no trace of ours")
    return bytes(content)


def _ubatch_dict(ubatch: Ubatch) -> dict[str, Any]:
    found: dict[str, Any] = {
        "n_tokens": ubatch.n_tokens,
        "experts": [chosen.ravel().tolist() for chosen in ubatch.experts],
    }
    return found | ({"sequences": ubatch.sequences} if ubatch.sequences else {})


def _model(found: Mapping[str, Any]) -> TracedModel:
    n_expert = _number(found, "n_expert", 1, MAX_EXPERTS)
    return TracedModel(
        file=_text(found, "file"),
        name=_text(found, "name"),
        architecture=_text(found, "architecture"),
        n_layer=_number(found, "n_layer", 1, MAX_LAYERS),
        n_expert=n_expert,
        n_expert_used=_number(found, "n_expert_used", 1, n_expert),
        rest_bytes=_number({"rest_bytes": 0, **found}, "rest_bytes", 0, MAX_EXPERT_BYTES),
    )


def _ubatches(rows: list[Any], n_layers: int, model: TracedModel) -> Iterable[Ubatch]:
    for i, row in enumerate(rows):
        where = f"ubatches[{i}]"
        found = _object(row, where)
        n_tokens = _number(found, "n_tokens", 1, 1 << 20, where)
        chosen = _list(found, "experts", where)
        if len(chosen) != n_layers:
            raise TraceError(f"{where}.experts is for {len(chosen)} layers; there are {n_layers}")
        experts = tuple(
            _experts(one, n_tokens, model, f"{where}.experts[{k}]") for k, one in enumerate(chosen)
        )
        yield Ubatch(n_tokens, experts, _sequences(found, n_tokens, where))


def _experts(found: Any, n_tokens: int, model: TracedModel, where: str) -> Experts:
    """[n_rows, n_expert_used]; no token uses an expert twice."""
    n_used = model.n_expert_used
    flat = _array(found, model.n_expert - 1, where)
    if len(flat) % n_used or len(flat) > n_tokens * n_used:
        raise TraceError(
            f"{where} has {len(flat)} numbers; {n_tokens} tokens use {n_used} experts each"
        )
    rows = flat.reshape(-1, n_used)
    ordered = np.sort(rows, axis=1)
    if (ordered[:, 1:] == ordered[:, :-1]).any():
        raise TraceError(f"{where} has a token that uses an expert twice")
    return rows.astype(np.uint16)


def _sequences(found: Mapping[str, Any], n_tokens: int, where: str) -> tuple[int, ...]:
    if "sequences" not in found:
        return ()
    numbers = _array(found["sequences"], 2**31 - 1, f"{where}.sequences")
    if len(numbers) != n_tokens:
        raise TraceError(f"{where}.sequences has {len(numbers)} numbers for {n_tokens} tokens")
    return tuple(numbers.tolist())


def _check_counts(trace: Trace, found: list[Any]) -> None:
    """They follow from the ubatches."""
    for i, row in enumerate(trace.counts):
        said = _array(found[i] if i < len(found) else None, 2**53, f"counts[{i}]")
        if said.tolist() != row.tolist():
            raise TraceError(f"counts[{i}] is not what the ubatches sum to: the file is damaged")


# ---------------------------------------------------------------- values


def _object(found: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(found, dict):
        raise TraceError(f"{where} is {_shown(found)}; it has to be an object")
    return found


def _list(found: Mapping[str, Any], name: str, where: str = "") -> list[Any]:
    value = found.get(name)
    if not isinstance(value, list):
        raise TraceError(f"{_path(where, name)} is {_shown(value)}; it has to be a list")
    return value


def _text(found: Mapping[str, Any], name: str) -> str:
    value = found.get(name)
    if not isinstance(value, str) or len(value) > 1000:
        raise TraceError(f"{name} is {_shown(value)}; it has to be a text")
    return value


def _number(found: Mapping[str, Any], name: str, least: int, most: int, where: str = "") -> int:
    value = found.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise TraceError(
            f"{_path(where, name)} is {_shown(value)}; it has to be a number from {least} to {most}"
        )
    return value


def _numbers(
    found: Mapping[str, Any], name: str, most: int, length: int, *, exactly: bool = False
) -> tuple[int, ...]:
    array = _array(found.get(name), most, name)
    if len(array) > length or (exactly and len(array) != length):
        raise TraceError(
            f"{name} has {len(array)} numbers; it has to have {'' if exactly else 'at most '}"
            f"{length}"
        )
    return tuple(array.tolist())


def _array(found: Any, most: int, where: str) -> Counts:
    """Whole numbers from 0 on."""
    if not isinstance(found, list):
        raise TraceError(f"{where} is {_shown(found)}; it has to be a list of numbers")
    try:
        array = np.array(found, dtype=None if found else np.int64)
    except (ValueError, OverflowError):
        array = np.empty(0, dtype=object)
    if array.dtype != np.int64 or array.ndim != 1:
        raise TraceError(f"{where} has to be a list of whole numbers; it is {_shown(found)}")
    if len(array) and not 0 <= array.min() <= array.max() <= most:
        wrong = next(value for value in found if not 0 <= value <= most)
        raise TraceError(f"{where} has {wrong}; numbers from 0 to {most} can be there")
    return array


def _path(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _shown(value: Any) -> str:
    return reprlib.repr(value)
