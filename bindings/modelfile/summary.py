"""A model file in figures: what `pannier inspect` shows."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from ..placement import Placement, PlacementRow
from ..roles import ROLES, Role, role_of
from .arrays import NumberArray, StringArray
from .costs import CACHE_TYPES, ClientCosts, client_costs
from .model_file import ModelFile

MAX_ELEMENTS = 8
MAX_CHARACTERS = 120


@dataclass(frozen=True)
class SizeRow:
    """Tensors of one role and type."""

    role: Role
    type: str
    n_tensors: int
    n_bytes: int


@dataclass(frozen=True)
class Summary:
    """The figures of one file or split set."""

    file: ModelFile
    sizes: tuple[SizeRow, ...]
    placement: Placement | None
    costs: ClientCosts | None
    """None if the architecture's costs are not known."""

    @classmethod
    def of(cls, file: ModelFile) -> Summary:
        """Raises ModelError if the file's placement is malformed."""
        return cls(
            file=file,
            sizes=size_rows(file),
            placement=Placement.from_metadata(file.metadata),
            costs=client_costs(file.metadata),
        )

    @property
    def name(self) -> str | None:
        value = self.file.metadata.get("general.name")
        return value if isinstance(value, str) else None

    @property
    def context_length(self) -> int | None:
        """Tokens that the model was trained with."""
        value = self.file.metadata.get(f"{self.file.architecture}.context_length")
        return value if isinstance(value, int) else None

    @property
    def n_vocab(self) -> int:
        tokens = self.file.metadata.get("tokenizer.ggml.tokens")
        return len(tokens) if isinstance(tokens, StringArray) else 0

    @property
    def has_chat_template(self) -> bool:
        return "tokenizer.chat_template" in self.file.metadata

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; sizes in bytes."""
        return {
            "path": str(self.file.path),
            "shards": [str(path) for path in self.file.shards],
            "version": self.file.version,
            "name": self.name,
            "architecture": self.file.architecture,
            "n_tensors": len(self.file.tensors),
            "n_bytes": self.file.n_bytes,
            "context_length": self.context_length,
            "n_vocab": self.n_vocab,
            "chat_template": self.has_chat_template,
            "sizes": [asdict(row) for row in self.sizes],
            "placement": [asdict(row) for row in self.placement_rows],
            "per_client": self._costs_as_dict(),
        }

    @property
    def placement_rows(self) -> tuple[PlacementRow, ...]:
        """Rows of the file's placement; none if it has none."""
        return self.placement.rows if self.placement else ()

    def _costs_as_dict(self) -> dict[str, Any] | None:
        costs = self.costs
        if costs is None:
            return None
        return {
            "kv_cell_bytes": {type: costs.cell_bytes(type) for type in CACHE_TYPES},
            "window": costs.window,
            "window_cell_bytes": {type: costs.window_cell_bytes(type) for type in CACHE_TYPES},
            "recurrent_seq_bytes": costs.recurrent_bytes,
        }

    def tensors_as_dicts(self) -> list[dict[str, Any]]:
        """The table of tensors, JSON-ready, with each one's role."""
        return [{**tensor._asdict(), "role": role_of(tensor.name)} for tensor in self.file.tensors]

    def metadata_as_dict(self) -> dict[str, Any]:
        """All keys, JSON-ready; of long arrays and texts the beginning, and their length."""
        return {
            key: {"type": self.file.types[key], "value": shorten(value)}
            for key, value in self.file.metadata.items()
        }


def size_rows(file: ModelFile) -> tuple[SizeRow, ...]:
    """Sums by role and type, in the order of roles, larger ones first."""
    counts: Counter[tuple[Role, str]] = Counter()
    sizes: Counter[tuple[Role, str]] = Counter()
    for tensor in file.tensors:
        key = role_of(tensor.name), tensor.type
        counts[key] += 1
        sizes[key] += tensor.n_bytes
    rows = (SizeRow(*key, counts[key], n_bytes) for key, n_bytes in sizes.items())
    return tuple(sorted(rows, key=lambda row: (ROLES.index(row.role), -row.n_bytes)))


def shorten(value: object) -> object:
    """A value for people: long ones end in how much there is."""
    if isinstance(value, (NumberArray, StringArray)):
        shown: list[object] = [shorten(element) for element in value[:MAX_ELEMENTS]]
        return shown + ([f"... {len(value)} elements"] if len(value) > MAX_ELEMENTS else [])
    if isinstance(value, str) and len(value) > MAX_CHARACTERS:
        return f"{value[:MAX_CHARACTERS]}... {len(value)} characters"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no word for it
    return value
