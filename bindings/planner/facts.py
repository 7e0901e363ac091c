"""What a plan has to know of a model, told from its file."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..modelfile import ModelFile
from ..placement import INPUT, is_tied
from ..roles import role_of


@dataclass(frozen=True)
class Layer:
    """Bytes of one layer's weights, and what it keeps of a sequence."""

    rest_bytes: int
    expert_bytes: int = 0
    attends: bool = True
    is_recurrent: bool = False


@dataclass(frozen=True)
class ModelFacts:
    """A model's layers and sizes."""

    layers: tuple[Layer, ...]
    output_bytes: int
    """What is behind the last layer."""
    n_ctx_train: int
    n_expert: int = 0
    n_expert_used: int = 0

    @property
    def moe_layers(self) -> tuple[int, ...]:
        """Layers with routed experts."""
        return tuple(i for i, layer in enumerate(self.layers) if layer.expert_bytes)

    @property
    def used_fraction(self) -> float:
        """Of the experts, how many work for a token."""
        return self.n_expert_used / self.n_expert if self.n_expert else 1.0

    @classmethod
    def of(cls, file: ModelFile) -> ModelFacts:
        """By the names of the file's tensors."""
        sizes = {tensor.name: tensor.n_bytes for tensor in file.tensors}
        causal = bool(file.metadata.get(f"{file.architecture}.attention.causal", True))
        behind = [size for name, size in sizes.items() if _is_behind(name)]
        if is_tied(sizes, causal):
            behind.append(sizes["token_embd.weight"])
        return cls(
            layers=tuple(_layer(sizes, i) for i in range(_number(file, "block_count"))),
            output_bytes=sum(behind),
            n_ctx_train=_number(file, "context_length"),
            n_expert=_number(file, "expert_count"),
            n_expert_used=_number(file, "expert_used_count"),
        )


def _is_behind(name: str) -> bool:
    return not name.startswith("blk.") and not re.search(INPUT, name)


def _layer(sizes: dict[str, int], index: int) -> Layer:
    names = [name for name in sizes if name.startswith(f"blk.{index}.")]
    roles = {name: role_of(name) for name in names}
    experts = sum(sizes[name] for name in names if roles[name] == "experts")
    is_recurrent = "recurrent" in roles.values()
    # a hybrid's recurrent layers have projections with an attention's names
    keys = any(re.search(r"\.attn_(k|kv_a_mqa|qkv)\.weight$", name) for name in names)
    return Layer(
        rest_bytes=sum(sizes[name] for name in names) - experts,
        expert_bytes=experts,
        attends=keys and not is_recurrent,
        is_recurrent=is_recurrent,
    )


def _number(file: ModelFile, key: str) -> int:
    """A number of the architecture; the largest where there is one for each layer."""
    value = file.metadata.get(f"{file.architecture}.{key}", 0)
    if isinstance(value, int):
        return value
    return max((int(element) for element in value), default=0)  # type: ignore[attr-defined]
