"""What a trace says of its model, told from the model's file."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ArgumentError
from ..modelfile import ModelFile
from ..planner.facts import ModelFacts
from .trace import TracedModel

MATRICES = ("ffn_gate_up_exps", "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps")
"""Of an expert, as llama.cpp's cache knows them (`llama_moe_cache_layer_experts`)."""


@dataclass(frozen=True)
class ExpertLayers:
    """Sizes of the experts by layer."""

    expert_bytes: dict[int, int]
    layouts: dict[int, int]
    """Layers of equal number have matrices of equal types and shapes."""


def traced_model(file: ModelFile) -> TracedModel:
    """Raises ArgumentError for a model without experts."""
    facts = ModelFacts.of(file)
    if not facts.moe_layers or not facts.n_expert_used:
        raise ArgumentError(
            f"{file.path.name} ({file.architecture}) has no routed experts: every token reads all "
            "of it, and there is nothing to trace; name a mixture of experts"
        )
    name = file.metadata.get("general.name")
    return TracedModel(
        file=file.path.name,
        name=name if isinstance(name, str) else "",
        architecture=file.architecture,
        n_layer=len(facts.layers),
        n_expert=facts.n_expert,
        n_expert_used=facts.n_expert_used,
        rest_bytes=sum(layer.rest_bytes for layer in facts.layers) + facts.output_bytes,
    )


def expert_layers(file: ModelFile) -> ExpertLayers:
    """Of all layers that have experts."""
    tensors = {tensor.name: tensor for tensor in file.tensors}
    sizes: dict[int, int] = {}
    layouts: dict[int, int] = {}
    known: dict[tuple[object, ...], int] = {}
    for layer in ModelFacts.of(file).moe_layers:
        names = (f"blk.{layer}.{matrix}.weight" for matrix in MATRICES)
        found = [tensors[name] for name in names if name in tensors]
        sizes[layer] = sum(tensor.n_bytes // tensor.shape[2] for tensor in found)
        layout = tuple((tensor.type, tensor.shape) for tensor in found)
        layouts[layer] = known.setdefault(layout, len(known))
    return ExpertLayers(sizes, layouts)
