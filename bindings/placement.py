"""Which tensors go where: rows of (tensor name pattern, device), as files carry them and as
llama.cpp takes them.

A file's rows are `pannier.placement.*` in its metadata: `version` (1), and three arrays of one
length, `patterns`, `devices` and `bytes`, what each row's tensors take. A tensor goes by the
first row that matches. Devices are "cpu", "gpu", "auto" (decided at load), and "input": tables
that are read row by row, which llama.cpp keeps in CPU memory wherever the layers are.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from .errors import ModelError
from .expert_words import Place, expert_layers, parse_experts
from .layer_ranges import MAX_LAYERS, layers_pattern

EXPERTS = r"\.ffn_(up|down|gate|gate_up)_(ch|)exps"
"""Names of the routed experts' tensors (llama.cpp, `common/common.h`)."""

DENSE_FFN = r"\.ffn_(up|down|gate)\."
"""Names of dense feed-forward weights (`common/common.h`)."""

INPUT = r"^(token_embd|token_embd_norm|position_embd|token_types|per_layer_token_embd)\."
"""Names of the input layer's tensors (llama.cpp, `src/llama-arch.cpp`, LLM_TENSOR_LAYER_INPUT)."""

REST = "."
"""The pattern of the last row: whatever is left."""

PREFIX = "pannier.placement."
VERSION = 1
MAX_ROWS = 1024

RESERVED = "pannier.reserved"
RESERVED_BYTES = 1024
"""Blanks behind the placement in a file's metadata, so that another one fits without moving the
tensors."""

PlacedOn = Literal["cpu", "gpu", "auto", "input"]
Override = tuple[str, str]

_HARMLESS = re.compile(r"[A-Za-z0-9_.|()\\^$\[\]-]{1,1024}")
"""A file is untrusted and its patterns reach llama.cpp's std::regex, which a repetition can keep
busy for ever. So rows have none."""


@dataclass(frozen=True)
class PlacementRow:
    """One row: where the tensors whose names match go."""

    pattern: str
    device: PlacedOn
    n_bytes: int


@dataclass(frozen=True)
class Placement:
    """Where a file says that its tensors go."""

    rows: tuple[PlacementRow, ...]

    @classmethod
    def of_experts(
        cls, words: str, tensors: Iterable[tuple[str, int]], *, tied: bool = False
    ) -> Placement:
        """Routed experts as the words of `parse_experts` say, the rest on the GPU; `tensors` are
        (name, bytes).

        tied: the token embeddings are the output matrix too, so the GPU has a copy of them.

        Raises ArgumentError for words that do not fit the tensors.
        """
        sizes = dict(tensors)
        patterns = [*_expert_patterns(words, sizes), (INPUT, "input"), (REST, "gpu")]
        sums = dict.fromkeys((pattern for pattern, _ in patterns), 0)
        for name, n_bytes in sizes.items():
            sums[next(pattern for pattern in sums if re.search(pattern, name))] += n_bytes
            if tied and name == "token_embd.weight":
                sums[REST] += n_bytes
        return cls(tuple(PlacementRow(*row, sums[row[0]]) for row in patterns if sums[row[0]]))

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> Placement | None:
        """What a file's metadata says; None where it says nothing.

        Raises ModelError for rows that are not well formed or of a version that is not known.
        """
        if PREFIX + "version" not in metadata:
            return None
        if metadata[PREFIX + "version"] != VERSION:
            raise ModelError(
                f"{PREFIX}version is {metadata[PREFIX + 'version']!r}, and this pannier knows "
                f"{VERSION}: use a newer one, or write the placement anew with `pannier place`"
            )
        columns = [metadata.get(PREFIX + key) for key in ("patterns", "devices", "bytes")]
        if not all(_is_list(column) for column in columns):
            raise ModelError(f"{PREFIX}patterns, devices and bytes must be arrays")
        lengths = {len(column) for column in columns}  # type: ignore[arg-type]
        if len(lengths) != 1 or max(lengths) > MAX_ROWS:
            raise ModelError(
                f"{PREFIX}patterns, devices and bytes have {sorted(lengths)} entries: they must "
                f"be as many each, {MAX_ROWS} at most"
            )
        return cls(tuple(_row(*row) for row in zip(*columns, strict=True)))

    def to_metadata(self) -> dict[str, Any]:
        """The metadata that says this, less the prefix "pannier."."""
        return {
            PREFIX + "version": VERSION,
            PREFIX + "patterns": [row.pattern for row in self.rows],
            PREFIX + "devices": [row.device for row in self.rows],
            PREFIX + "bytes": [row.n_bytes for row in self.rows],
        }

    def device_of(self, name: str) -> PlacedOn:
        """Where one tensor goes."""
        matching = (row.device for row in self.rows if re.search(row.pattern, name))
        return next(matching, "gpu")

    def bytes_on(self, device: PlacedOn) -> int:
        """Sum of the rows on a device."""
        return sum(row.n_bytes for row in self.rows if row.device == device)

    def overrides(self, auto: PlacedOn) -> list[Override]:
        """llama.cpp's overrides; rows with the device "auto" go to `auto`."""
        on_cpu = ("cpu", "auto") if auto == "cpu" else ("cpu",)
        return [(row.pattern, "CPU") for row in self.rows if row.device in on_cpu]


def is_tied(names: Collection[str], causal: bool) -> bool:
    """Whether a model's token embeddings are its output matrix too. An encoder has none."""
    return causal and "token_embd.weight" in names and "output.weight" not in names


def _is_list(column: object) -> bool:
    return isinstance(column, Sequence) and not isinstance(column, (str, bytes))


def _row(pattern: object, device: object, n_bytes: object) -> PlacementRow:
    if not isinstance(pattern, str) or not _HARMLESS.fullmatch(pattern):
        raise ModelError(
            f"{PREFIX}patterns holds {pattern!r}: a pattern is made of letters, digits and "
            ". | ( ) [ ] ^ $ \\ - _, without repetitions"
        )
    try:
        re.compile(pattern)
    except re.error as error:
        raise ModelError(f"{PREFIX}patterns holds {pattern!r}: {error}") from error
    if device not in get_args(PlacedOn):
        raise ModelError(
            f"{PREFIX}devices holds {device!r}: one of {', '.join(get_args(PlacedOn))}"
        )
    if not isinstance(n_bytes, int) or n_bytes < 0:
        raise ModelError(f"{PREFIX}bytes holds {n_bytes!r}: a number of bytes")
    return PlacementRow(pattern, device, n_bytes)  # type: ignore[arg-type]


def experts_of(layers: Iterable[int]) -> str:
    """The pattern of these layers' routed experts."""
    return layers_pattern(layers) + EXPERTS


def _expert_patterns(words: str, names: Collection[str]) -> list[tuple[str, PlacedOn]]:
    """Those of experts that are not on the GPU go first."""
    experts = parse_experts(words)
    if not experts.rows:
        assert experts.rest is not None
        return [(EXPERTS, experts.rest)]
    devices: dict[Place, frozenset[int]] = experts.by_layer(expert_layers(names, EXPERTS))
    on_cpu = [(experts_of(devices["cpu"]), "cpu")] if devices["cpu"] else []
    return [*on_cpu, (EXPERTS, "gpu")]  # type: ignore[list-item]


def dense_overrides(n_cpu_ffn: int) -> list[Override]:
    """The row that keeps the dense feed-forward weights of the first layers in CPU memory, as
    llama-server's `--n-cpu-ffn` does."""
    layers = range(min(n_cpu_ffn, MAX_LAYERS))
    return [(layers_pattern(layers) + DENSE_FFN, "CPU")] if layers else []
