"""What one client costs, told from a file: KV per token, recurrent state per sequence.

llama.cpp's own sizes: a cell of the KV cache has a row of keys and a row of values in each layer
that attends (`llama-kv-cache.cpp`; latent attention has no values), a recurrent layer has two rows
in F32 for each sequence (`llama-memory-recurrent.cpp`, `n_embd_r` and `n_embd_s` in
`llama-hparams.cpp`). Which layers are which is each architecture's own business
(`models/*.cpp`); for one that is not known here there is no answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .arrays import NumberArray
from .tensor_types import TYPES

CACHE_TYPES = ("f16", "q8_0", "q4_0")
_BY_NAME = {kind.name.lower(): kind for kind in TYPES.values()}


@dataclass(frozen=True)
class ClientCosts:
    """Rows that a client fills."""

    rows: tuple[int, ...]
    """Elements of each row of keys or values in one cell: layers that attend to everything."""
    window_rows: tuple[int, ...]
    """The same of layers with a sliding window, whose cache has `window` cells at most."""
    window: int
    """Tokens of the sliding window; 0 is none."""
    recurrent_bytes: int
    """A sequence's recurrent state, in F32."""

    def cell_bytes(self, type: str = "f16") -> int | None:
        """Bytes of one token in the cache; None if the rows are no multiple of the type's block."""
        return _bytes(self.rows, type)

    def window_cell_bytes(self, type: str = "f16") -> int | None:
        """Bytes of one token in the sliding window's cache."""
        return _bytes(self.window_rows, type)


def client_costs(metadata: Mapping[str, object]) -> ClientCosts | None:
    """Costs by a file's metadata; None for an architecture that is not known here."""
    layers = _LAYERS.get(str(metadata.get("general.architecture")))
    if layers is None:
        return None
    try:
        return layers(_Sizes(metadata))
    except LookupError:  # an array that is no number for each layer: llama.cpp refuses it too
        return None


def _bytes(rows: tuple[int, ...], type: str) -> int | None:
    kind = _BY_NAME[type]
    if any(row % kind.block for row in rows):
        return None
    return sum(row // kind.block * kind.size for row in rows)


class _Sizes:
    """Sizes by llama.cpp's rules: one number stands for all layers, some have defaults."""

    def __init__(self, metadata: Mapping[str, object]) -> None:
        self.metadata = metadata
        self.architecture = str(metadata.get("general.architecture"))
        self.n_layer_all = self.number("block_count")
        self.n_layer = self.n_layer_all - self.number("nextn_predict_layers")
        self.heads = self.per_layer("attention.head_count", 0)
        self.heads_kv = self.per_layer("attention.head_count_kv", self.heads)
        default = self.number("embedding_length") // self.heads[0] if self.heads[0] else 0
        self.key = self.number("attention.key_length", default)
        self.value = self.number("attention.value_length", default)

    def get(self, name: str) -> Any:
        return self.metadata.get(f"{self.architecture}.{name}")

    def number(self, name: str, default: int = 0) -> int:
        value = self.get(name)
        return int(value) if isinstance(value, int) else default

    def per_layer(self, name: str, default: Any) -> list[int]:
        """A number for each layer, from an array or from one number."""
        value = self.get(name)
        if value is None:
            value = default
        if isinstance(value, (NumberArray, list)):
            return [int(element) for element in value]
        return [int(value)] * max(1, self.n_layer_all)

    def attends(self, layer: int) -> bool:
        return self.heads_kv[layer] > 0

    def rows(self, layers: list[int]) -> tuple[int, ...]:
        """Keys and values of some layers in one cell."""
        latent = self.number("attention.key_length_mla") and self.number(
            "attention.value_length_mla"
        )
        lengths = (self.key,) if latent else (self.key, self.value)
        return tuple(self.heads_kv[layer] * length for layer in layers for length in lengths)

    def state_bytes(self) -> int:
        """A recurrent layer's two rows: the short convolution's inputs and the state."""
        kernel, inner = self.number("ssm.conv_kernel"), self.number("ssm.inner_size")
        width = self.number("ssm.state_size")
        channels = inner + 2 * self.number("ssm.group_count") * width
        state = width * inner
        if head := self.number("kda.head_dim"):
            channels, state = 3 * head * self.heads[0], head * head * self.heads[0]
            kernel = kernel or 4
        return 4 * (max(0, kernel - 1) * channels + state)


def _split(sizes: _Sizes, is_recurrent: Callable[[int], bool]) -> ClientCosts:
    """Layers are one or the other."""
    recurrent = [layer for layer in range(sizes.n_layer) if is_recurrent(layer)]
    attending = [layer for layer in range(sizes.n_layer) if layer not in recurrent]
    return ClientCosts(sizes.rows(attending), (), 0, len(recurrent) * sizes.state_bytes())


def _attention(sizes: _Sizes) -> ClientCosts:
    return _split(sizes, lambda layer: False)


def _windows(default_pattern: int) -> Callable[[_Sizes], ClientCosts]:
    """Every n-th layer attends to everything, the others to a window."""

    def costs(sizes: _Sizes) -> ClientCosts:
        window = sizes.number("attention.sliding_window")
        pattern = sizes.get("attention.sliding_window_pattern")
        if isinstance(pattern, NumberArray):
            in_window = [bool(element) for element in pattern]
        else:
            n = default_pattern if pattern is None else int(pattern)
            in_window = [n == 0 or layer % n < n - 1 for layer in range(sizes.n_layer)]
        if not window:
            return _attention(sizes)
        layers = range(sizes.n_layer)
        return ClientCosts(
            sizes.rows([layer for layer in layers if not in_window[layer]]),
            sizes.rows([layer for layer in layers if in_window[layer]]),
            window,
            0,
        )

    return costs


def _interval(sizes: _Sizes) -> ClientCosts:
    """Qwen3-Next: each fourth layer attends, or as a list says."""
    if sizes.get("attention.recurrent_layers") is not None:
        recurrent = sizes.per_layer("attention.recurrent_layers", 0)
        return _split(sizes, lambda layer: bool(recurrent[layer]))
    interval = sizes.number("full_attention_interval", 4)
    return _split(sizes, lambda layer: (layer + 1) % interval != 0)


def _by_heads(sizes: _Sizes) -> ClientCosts:
    """Jamba, Granite, Kimi Linear: a layer without KV heads is recurrent."""
    return _split(sizes, lambda layer: not sizes.attends(layer))


def _nemotron(sizes: _Sizes) -> ClientCosts:
    """Nemotron-H: a layer with a feed-forward length is neither."""
    feed_forward = sizes.per_layer("feed_forward_length", 0)
    free = [layer for layer in range(sizes.n_layer_all) if not feed_forward[layer]]
    recurrent = [layer for layer in free if layer < sizes.n_layer and not sizes.attends(layer)]
    attending = [layer for layer in free if layer not in recurrent]
    return ClientCosts(sizes.rows(attending), (), 0, len(recurrent) * sizes.state_bytes())


def _both(sizes: _Sizes) -> ClientCosts:
    """Falcon-H1: each layer is both."""
    layers = list(range(sizes.n_layer_all))
    return ClientCosts(sizes.rows(layers), (), 0, len(layers) * sizes.state_bytes())


def _recurrent(sizes: _Sizes) -> ClientCosts:
    return _split(sizes, lambda layer: True)


_LAYERS: dict[str, Callable[[_Sizes], ClientCosts]] = {
    "deepseek2": _attention,
    "falcon-h1": _both,
    "gemma3": _windows(6),
    "gpt-oss": _windows(2),
    "granite": _attention,
    "granitehybrid": _by_heads,
    "granitemoe": _attention,
    "jamba": _by_heads,
    "kimi-linear": _by_heads,
    "llama": _attention,
    "mamba": _recurrent,
    "mamba2": _recurrent,
    "nemotron_h": _nemotron,
    "nemotron_h_moe": _nemotron,
    "qwen2": _attention,
    "qwen2moe": _attention,
    "qwen3": _attention,
    "qwen35": _interval,
    "qwen35moe": _interval,
    "qwen3moe": _attention,
    "qwen3next": _interval,
}
