"""From a setup to its series: plans first, then a server for each number of clients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..engine.progress import say
from ..planner.arguments import serve_arguments
from ..planner.cost import Cost
from ..server.config import EngineConfig
from .clients import at_work, check, compute
from .load import Load, counts
from .point import Point, held_by, of_cost, places_of, reported
from .predict import check_room, predicted
from .resident import resident_bytes
from .series import Series
from .server import BenchServer, running
from .setup import Setup


def run(setup: Setup, load: Load, *, plan_only: bool) -> Series:
    """Raises PlanError before anything is started that does not fit."""
    numbers = counts(setup.config.n_parallel)
    configs = [setup.at(n, load) for n in numbers]
    costs = predicted(configs)
    if plan_only:
        points = [of_cost(n, cost) for n, cost in zip(numbers, costs, strict=True)]
    else:
        check_room(configs, costs)
        points = [
            measured(setup.label, config, cost, load)
            for config, cost in zip(configs, costs, strict=True)
        ]
    return Series(
        label=setup.label,
        engine=Path(setup.config.engine or "").name,
        kv="unified" if setup.config.kv_unified else "split",
        own_tokens=load.own_tokens(setup.config.kv_unified),
        arguments=_arguments(configs),
        points=tuple(points),
    )


def measured(label: str, config: EngineConfig, cost: Cost, load: Load) -> Point:
    """One server, with all its clients at work."""
    n = config.n_parallel
    say(f"{label}: {n} client{'s' if n > 1 else ''}, a context of {cost.n_ctx} tokens")
    with running(config) as server:
        prompts = load.prompts(n, n_vocab(server))
        if n_seeded := load.n_seeded(config.kv_unified):
            compute(server, prompts[0][:n_seeded])
        with at_work(server, prompts, load.n_predict) as clients:
            report: dict[str, Any] = server.get("/memory")
            resident = resident_bytes(server.engine_pid())
            check(clients)
    return replace(
        of_cost(n, cost),
        allocated=reported(report),
        places=places_of(cost, report, resident),
        held=held_by(report),
    )


def n_vocab(server: BenchServer) -> int:
    """Tokens of the model."""
    return int(server.get("/v1/models")["data"][0]["meta"]["n_vocab"])


def _arguments(configs: Sequence[EngineConfig]) -> tuple[str, ...]:
    model, *flags = serve_arguments(configs[-1])
    return (Path(model).name, *flags)
