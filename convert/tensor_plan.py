"""Which type each tensor is written in, and where it belongs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.filesize import decimal

from ..errors import ConvertError
from ..placement import EXPERTS, Placement
from ..quantize import QuantChoice, QuantModel, QuantTensor, choose_types, row_bytes
from ..roles import role_of
from .imatrix import ImportanceMatrix
from .layout import padded
from .options import AUTO, Options
from .recipes import FILE_TYPES, FLOAT_RECIPES, LADDER, nearest
from .source import FLOATS, Source
from .table import TensorPlan

N_NAMED = 3
"""Most tensors that a message names."""

BELOW_THREE_BITS = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS")
"""Types that need an importance matrix (llama.cpp, `tensor_requires_imatrix`)."""

SSM_GATES = re.compile(r"\.ssm_(alpha|beta|ba|a|dt|f_a|f_b|g_a|g_b)(\.|$)")
"""Gates and decays of recurrent layers: small, and what they get wrong adds up over a text."""


@dataclass
class Recipe:
    """A recipe applied to a model: knows every tensor's type."""

    quant: str
    """The recipe; "auto" is resolved."""
    tensors: list[TensorPlan]
    without_imatrix: list[str]
    """Tensors of a type that llama.cpp refuses to make without an importance matrix, for which
    there is none."""

    @property
    def n_bytes(self) -> int:
        """Bytes of the tensors in the file."""
        return sum(padded(tensor.n_bytes) for tensor in self.tensors)


def apply_recipe(
    quant: str,
    sources: Sequence[Source],
    model: QuantModel,
    options: Options,
    imatrix: ImportanceMatrix | None,
) -> Recipe:
    """Give every tensor its type.

    llama.cpp's recipe decides (`choose_types`). It has no say over tensors that match a
    `tensor_types` row, over what is quantised in the checkpoint (unless `requantize`), and, unless
    `exact_recipe`, over the gates and decays of recurrent layers, which stay as they are.

    Raises ConvertError where the importance matrix has an entry that does not fit its tensor.
    """
    overrides = list(options.tensor_types)
    if options.experts_quant:
        overrides.append((EXPERTS, options.experts_quant))
    tensors = [QuantTensor(source.name, source.shape, source.type) for source in sources]
    choices = choose_types(
        model,
        tensors,
        FILE_TYPES[quant],
        has_imatrix=imatrix is not None,
        output_type=options.output_quant,
        overrides=overrides,
    )
    plans, missing = [], []
    for source, choice in zip(sources, choices, strict=True):
        type = type_of(source, choice, quant, options, overrides)
        plans.append(make_plan(source, type))
        if not has_importance(source, type, imatrix) and needs_importance(source, choice, type):
            missing.append(source.name)
    return Recipe(quant, plans, missing)


def has_importance(source: Source, type: str, imatrix: ImportanceMatrix | None) -> bool:
    """Whether the matrix knows this tensor. Raises ConvertError if it knows it as another."""
    if imatrix is None or type in FLOATS or type == source.type:
        return False
    return imatrix.slices(source.name, source.n_matrices, source.shape[0]) is not None


def needs_importance(source: Source, choice: QuantChoice, type: str) -> bool:
    """Whether a tensor that becomes this type is garbage without."""
    if type == choice.type:
        return choice.needs_imatrix
    # llama.cpp was not asked about this type: a row of `tensor_types` over a recipe of floats
    return type in BELOW_THREE_BITS and type != source.type


def type_of(
    source: Source,
    choice: QuantChoice,
    quant: str,
    options: Options,
    overrides: Sequence[tuple[str, str]],
) -> str:
    """Type of one tensor."""
    if not choice.allowed:
        return source.type
    asked = next((type for pattern, type in overrides if re.search(pattern, source.name)), None)
    if asked is not None:
        # recipes of plain floats leave overrides out, and quantising ones look at the shape too
        return asked if quant in FLOAT_RECIPES else choice.type
    if source.is_native and not options.requantize:
        return source.type
    if SSM_GATES.search(source.name) and not options.exact_recipe:
        return source.type
    return choice.type


def make_plan(source: Source, type: str) -> TensorPlan:
    """The plan of one tensor. I32 and the like, which nothing converts, keep their bytes."""
    n_bytes = source.n_bytes
    if type != source.type:
        n_bytes = row_bytes(type, source.shape[0]) * (source.n_weights // source.shape[0])
    role = role_of(source.name)
    return TensorPlan(source.name, source.shape, source.type, type, n_bytes, role)


def choose_recipe(
    sources: Sequence[Source],
    model: QuantModel,
    options: Options,
    precision: str,
    imatrix: ImportanceMatrix | None,
    header_bytes: int,
) -> Recipe:
    """The recipe that was asked for, or the best one that fits the target size.

    precision: what "auto" is for this checkpoint. header_bytes: of the file, besides tensors.
    """
    require_matches(options, [source.name for source in sources])
    if options.target_bytes is None:
        quant = precision if options.quant == AUTO else options.quant
        return apply_recipe(quant, sources, model, options, imatrix)
    smallest: Recipe | None = None
    needy: Recipe | None = None
    for quant in LADDER:
        recipe = apply_recipe(quant, sources, model, options, imatrix)
        if recipe.without_imatrix:
            needy = recipe
            continue
        if header_bytes + recipe.n_bytes <= options.target_bytes:
            return recipe
        if smallest is None or recipe.n_bytes < smallest.n_bytes:
            smallest = recipe
    assert smallest is not None
    assert options.target_bytes is not None
    hint = "" if needy is None else f"; {imatrix_message(needy, imatrix)}"
    raise ConvertError(
        f"no recipe fits {decimal(options.target_bytes)}: the smallest, {smallest.quant}, takes "
        f"{decimal(header_bytes + smallest.n_bytes)}{hint}"
    )


def imatrix_message(recipe: Recipe, imatrix: ImportanceMatrix | None) -> str:
    """What a recipe lacks in importance, and what to do."""
    names = recipe.without_imatrix
    tensors = f"{len(names)} tensors ({some(names)})"
    if imatrix is None:
        return (
            f"{recipe.quant} needs an importance matrix for {tensors}: make one with "
            "llama-imatrix from the model in Q8_0 and name it with --imatrix"
        )
    return (
        f"{recipe.quant} needs the importance of {tensors}, which {imatrix.path} does not have: "
        f"it has {len(imatrix.entries)} ({some(sorted(imatrix.entries))}). Make one from this "
        "model, or give these tensors a type that needs none: --tensor-type PATTERN=Q4_K"
    )


def some(names: Sequence[str]) -> str:
    """The first few."""
    return ", ".join(names[:N_NAMED]) + (" ..." if len(names) > N_NAMED else "")


def require_matches(options: Options, names: Sequence[str]) -> None:
    """Raise ConvertError for a row of `tensor_types` that no tensor's name matches."""
    for pattern, type in options.tensor_types:
        if not any(re.search(pattern, name) for name in names):
            raise ConvertError(
                f"--tensor-type {pattern}={type} matches no tensor{nearest(pattern, names)}; "
                "--dry-run lists them"
            )
    if options.experts_quant and not any(re.search(EXPERTS, name) for name in names):
        raise ConvertError(
            f"--experts-quant {options.experts_quant}: this model has no routed experts"
        )


def quant_model(collected: Any, sources: Sequence[Source]) -> QuantModel:
    """What llama.cpp's recipes ask of a model, from the metadata of the file to be."""

    def number(key: str, default: int = 0) -> int:
        value = collected.value(f"{{arch}}.{key}", default)
        # where layers differ llama.cpp's recipes look at the first
        return int(value[0]) if isinstance(value, (list, tuple)) else int(value)

    n_head = number("attention.head_count", 1)
    head = number("embedding_length", 1) // max(n_head, 1)
    return QuantModel(
        architecture=collected.value("general.architecture"),
        n_layer=max(number("block_count", 1), 1 + highest_block(sources)),
        n_embd=number("embedding_length"),
        n_ff=number("feed_forward_length"),
        n_head=n_head,
        n_head_kv=number("attention.head_count_kv", n_head),
        n_expert=number("expert_count"),
        n_embd_head_k=number("attention.key_length", head),
        n_embd_head_v=number("attention.value_length", head),
    )


def highest_block(sources: Sequence[Source]) -> int:
    """The largest N of the names "blk.N."; -1 without any."""
    numbers = (re.match(r"blk\.(\d+)\.", source.name) for source in sources)
    return max((int(match[1]) for match in numbers if match), default=-1)


def placed(plans: Sequence[TensorPlan], placement: Placement) -> list[TensorPlan]:
    """The plans with their devices, in the order of the file: what goes to the GPU first."""
    order = ("gpu", "input", "auto", "cpu")
    with_device = [replace(plan, device=placement.device_of(plan.name)) for plan in plans]
    return sorted(with_device, key=lambda plan: order.index(plan.device))
