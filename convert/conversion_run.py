"""The conversion in the child process: collect, plan, write. Reads as the three."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.filesize import decimal

from ..errors import ConvertError, ModelError
from ..model import Model
from ..placement import Placement, is_tied
from ..system_memory import available_memory
from .collect import Collected, collect, forbid_remote_code
from .imatrix import ImportanceMatrix, load_imatrix
from .job import Job
from .layout import (
    Values,
    placement_values,
    recipe_values,
    shard_paths,
    shards_of,
    split_values,
)
from .memory import estimate_peak
from .quantise import write_tensor
from .reports import Reporter
from .shard import Shard
from .source import Source
from .table import TensorPlan
from .tensor_plan import Recipe, choose_recipe, imatrix_message, placed, quant_model

ROOM_TO_SPARE = 64 << 20


@dataclass
class Work:
    """A planned conversion."""

    recipe: Recipe
    placement: Placement
    metadata: Values
    shards: list[list[TensorPlan]]
    sources: dict[str, Source]
    imatrix: ImportanceMatrix | None
    paths: list[Path]
    peak_bytes: int

    @property
    def plans(self) -> list[TensorPlan]:
        return [plan for shard in self.shards for plan in shard]


def run(job: Job, report: Reporter) -> None:
    """Do the job; raises PannierError and whatever upstream raises."""
    forbid_remote_code(job.options.trust_remote_code)
    collected = collect(Path(job.checkpoint), job.options, Path(job.folder) / "model.gguf")
    work = plan(job, collected)
    report(plan=plan_report(work, collected))
    if not job.dry_run:
        require_room(work)
        write(work, report)


def plan(job: Job, collected: Collected) -> Work:
    """Choose types and places for every tensor."""
    options, sources = job.options, collected.sources
    imatrix = load_imatrix(Path(options.imatrix)) if options.imatrix else None
    recipe = choose_recipe(
        sources,
        quant_model(collected, sources),
        options,
        job.precision,
        imatrix,
        header_bytes(collected, sources, imatrix) if options.target_bytes else 0,
    )
    if recipe.without_imatrix:
        raise ConvertError(imatrix_message(recipe, imatrix))
    drop_folded(recipe, sources)
    sizes = [(tensor.name, tensor.n_bytes) for tensor in recipe.tensors]
    tied = is_tied(dict(sizes), bool(collected.value("{arch}.attention.causal", True)))
    placement = Placement.of_experts(options.experts, sizes, tied=tied)
    shards = shards_of(placed(recipe.tensors, placement), options.split_experts)
    native = native_file_type(collected, recipe)
    values = recipe_values(recipe.quant, native, imatrix) | placement_values(placement)
    out = Path(job.folder) / job.file_name.replace("{quant}", recipe.quant)
    return Work(
        recipe,
        placement,
        collected.metadata | values,
        shards,
        {source.name: source for source in sources},
        imatrix,
        shard_paths(out, len(shards)),
        estimate_peak(sources),
    )


def plan_report(work: Work, collected: Collected) -> dict[str, Any]:
    """The fields of `Plan` that the child knows."""
    return {
        "architecture": collected.architecture,
        "quant": work.recipe.quant,
        "pre": collected.value("tokenizer.ggml.pre"),
        "files": [path.name for path in work.paths],
        "tensors": [asdict(plan) for plan in work.plans],
        "peak_memory_bytes": work.peak_bytes,
        "placement": [asdict(row) for row in work.placement.rows],
    }


def drop_folded(recipe: Recipe, sources: list[Source]) -> None:
    """Remove the factors of NVFP4 tensors that get another type: they are in the values then."""
    folded = {
        plan.name.removesuffix(".weight") + suffix
        for plan in recipe.tensors
        if plan.source_type == "NVFP4" and plan.type != "NVFP4"
        for suffix in (".scale", ".input_scale")
    }
    recipe.tensors = [plan for plan in recipe.tensors if plan.name not in folded]
    sources[:] = [source for source in sources if source.name not in folded]


def native_file_type(collected: Collected, recipe: Recipe) -> int | None:
    """Upstream's file type for a checkpoint that is mostly quantised itself and stays so."""
    weights = Counter[bool]()
    for plan in recipe.tensors:
        weights[plan.type in ("NVFP4", "MXFP4") and plan.type == plan.source_type] += plan.n_bytes
    mostly = weights[True] > weights[False]
    return int(collected.value("general.file_type")) if mostly else None


def header_bytes(
    collected: Collected, sources: Sequence[Source], imatrix: ImportanceMatrix | None
) -> int:
    """Size of the file less its tensors' data, which no recipe changes."""
    sizes = [(source.name, source.n_bytes) for source in sources]
    values = recipe_values("F32", None, imatrix)
    values |= placement_values(Placement.of_experts("auto", sizes))
    plans = [TensorPlan(s.name, s.shape, s.type, s.type, 0, "other") for s in sources]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "header"
        shard = Shard(path, collected.metadata | values, plans)
        shard.begin()
        shard.close()
        return path.stat().st_size


def require_room(work: Work) -> None:
    """Raise ConvertError where the disk or the memory will not do."""
    n_bytes = sum(plan.n_bytes for plan in work.plans) + ROOM_TO_SPARE
    folder = work.paths[0].parent
    free = shutil.disk_usage(folder).free
    if free < n_bytes:
        raise ConvertError(
            f"not enough disk space: the file needs {decimal(n_bytes)}, {decimal(free)} are free; "
            "choose another place with -o or a smaller --quant"
        )
    memory = available_memory()
    if memory is not None and memory < work.peak_bytes:
        raise ConvertError(
            f"not enough memory: the largest tensor needs {decimal(work.peak_bytes)} in all while "
            f"it is converted, {decimal(memory)} are available; close other programs"
        )


def write(work: Work, report: Reporter) -> None:
    """Write the headers, have the engine check them, and only then compute the tensors."""
    shards = [begin_shard(work, number) for number in range(len(work.shards))]
    check(work.paths[0])
    for shard, plans in zip(shards, work.shards, strict=True):
        for plan in plans:
            write_tensor(
                work.sources.pop(plan.name),  # what was computed for it goes with it
                plan,
                work.imatrix,
                shard,
                partial(report.wrote, plan.name),
            )
            report.wrote(plan.name, 0, ended=True)
        shard.close()


def begin_shard(work: Work, number: int) -> Shard:
    """Write a shard's header. Only the first one of a set has the model's metadata."""
    metadata = work.metadata if number == 0 else architecture_only(work.metadata)
    split = split_values(number, len(work.shards), len(work.plans))
    shard = Shard(work.paths[number], metadata | split, work.shards[number])
    shard.begin()
    return shard


def check(path: Path) -> None:
    """Raise ConvertError where the engine would refuse the file: tensors that are missing or do
    not have the shapes that the configuration says."""
    try:
        Model(path, no_alloc=True, devices=("none",)).close()
    except ModelError as error:
        reason = str(error).rpartition(f"{path}': ")[2]
        raise ConvertError(
            f"what this checkpoint converts to would not load: {reason}; its weights do not fit "
            "its config.json, or llama.cpp does not support this variant of the architecture"
        ) from error


def architecture_only(metadata: Values) -> Values:
    return {"general.architecture": metadata["general.architecture"]}
