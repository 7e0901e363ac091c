"""`pannier inspect`: check a model file and show what it says."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .costs import ClientCosts
    from .summary import Summary


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `pannier inspect`."""
    parser.add_argument("file", type=Path, metavar="FILE", help="GGUF file, the first of a set")
    parser.add_argument("--tensors", action="store_true", help="list every tensor")
    parser.add_argument("--metadata", action="store_true", help="list all metadata")
    parser.add_argument("--json", action="store_true", help="print JSON, sizes in bytes")


def execute(args: argparse.Namespace) -> int:
    """Check the file, then print; nothing native sees it."""
    from .model_file import open_model_file
    from .summary import Summary

    summary = Summary.of(open_model_file(args.file))
    show = _as_json if args.json else _as_text
    sys.stdout.write(show(summary, tensors=args.tensors, metadata=args.metadata))
    return 0


def _as_json(summary: Summary, *, tensors: bool, metadata: bool) -> str:
    data = summary.as_dict()
    if tensors:
        data["tensors"] = summary.tensors_as_dicts()
    if metadata:
        data["metadata"] = summary.metadata_as_dict()
    return json.dumps(data, indent=2, allow_nan=False) + "\n"


def _as_text(summary: Summary, *, tensors: bool, metadata: bool) -> str:
    parts = [_facts(summary), _sizes(summary), _placement(summary), _per_client(summary.costs)]
    if metadata:
        rows = summary.metadata_as_dict().items()
        parts.append(_table([(key, row["type"], row["value"]) for key, row in rows], left=3))
    if tensors:
        parts.append(_tensors(summary))
    return "\n".join(part for part in parts if part)


def _facts(summary: Summary) -> str:
    file = summary.file
    n = len(file.shards)
    rows = {
        "file": f"{file.path}, {n} parts" if n > 1 else file.path,
        "name": summary.name or "none",
        "architecture": file.architecture,
        "size": f"{size_text(file.n_bytes)} in {len(file.tensors)} tensors",
        "context": f"{summary.context_length} tokens" if summary.context_length else "unknown",
        "vocabulary": f"{summary.n_vocab} tokens",
        "chat template": "yes" if summary.has_chat_template else "no",
    }
    return _table(rows.items(), left=2)


def _sizes(summary: Summary) -> str:
    rows = [(row.role, row.type, row.n_tensors, size_text(row.n_bytes)) for row in summary.sizes]
    return _table([("ROLE", "TYPE", "TENSORS", "SIZE"), *rows], left=2) if rows else ""


def _placement(summary: Summary) -> str:
    if not summary.placement_rows:
        return "placement: none in the file\n"
    rows = [(row.device, row.pattern, size_text(row.n_bytes)) for row in summary.placement_rows]
    return _table([("DEVICE", "PATTERN", "SIZE"), *rows], left=2)


def _per_client(costs: ClientCosts | None) -> str:
    from .costs import CACHE_TYPES

    if costs is None:
        return "per client: unknown for this architecture\n"
    rows: list[Sequence[object]] = [("PER CLIENT", *CACHE_TYPES, "")]
    if costs.rows or not costs.recurrent_bytes:
        cells = [size_text(costs.cell_bytes(type)) for type in CACHE_TYPES]
        rows.append(("KV per token", *cells, ""))
    if costs.window_rows:
        cells = [size_text(costs.window_cell_bytes(type)) for type in CACHE_TYPES]
        rows.append(("KV per token of the window", *cells, f"of {costs.window} tokens"))
    text = _table(rows) if len(rows) > 1 else ""
    if costs.recurrent_bytes:
        text += f"recurrent state: {size_text(costs.recurrent_bytes)} per sequence, f32\n"
    return text


def _tensors(summary: Summary) -> str:
    rows = [
        (row["name"], row["type"], row["role"], _shape(row["shape"]), size_text(row["n_bytes"]))
        for row in summary.tensors_as_dicts()
    ]
    return _table([("TENSOR", "TYPE", "ROLE", "SHAPE", "SIZE"), *rows], left=4)


def _shape(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) or "1"


def size_text(n_bytes: int | None) -> str:
    """Bytes for people, in binary units; "unknown" for None."""
    if n_bytes is None:
        return "unknown"
    size, unit = float(n_bytes), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.4g} {unit}"


def _table(rows: Iterable[Sequence[object]], left: int = 1) -> str:
    """Rows in columns as wide as needed; the first `left` ones begin at the left."""
    cells = [[_printable(str(cell)) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    return "\n".join(lines) + "\n"


def _printable(text: str) -> str:
    """A file's words without what would do something to a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
