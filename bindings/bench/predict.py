"""What the planner says of a row of servers, in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import PlanError
from ..modelfile.cli import size_text
from ..planner.budget import Budget
from ..planner.child import in_child
from ..planner.cost import Cost
from ..server.config import EngineConfig


def predicted(configs: Sequence[EngineConfig]) -> tuple[Cost, ...]:
    """One cost for each; all name the same engine. Raises what the engine says of the file."""
    return in_child(_costs, tuple(configs))


def check_room(configs: Sequence[EngineConfig], costs: Sequence[Cost]) -> None:
    """Raises PlanError where the largest server does not fit this machine."""
    budgets = in_child(_budgets, configs[-1])
    for config, cost in zip(configs, costs, strict=True):
        for device, n_bytes in cost.excess(budgets).items():
            raise PlanError(
                f"{config.n_parallel} clients have {device} hold "
                f"{size_text(cost.used_bytes(device))}, {size_text(n_bytes)} more than is free: "
                "start fewer or smaller ones, or say --plan-only"
            )


def _costs(configs: tuple[EngineConfig, ...]) -> tuple[Cost, ...]:
    from ..planner.engine_costs import EngineCosts

    _load(configs[0])
    costs = EngineCosts()
    try:
        return tuple(costs(config) for config in configs)
    finally:
        costs.close()


def _budgets(config: EngineConfig) -> tuple[Budget, ...]:
    from ..planner.survey import budgets_of

    _load(config)
    return budgets_of(config, ())


def _load(config: EngineConfig) -> None:
    from .. import _ffi
    from ..engine.store import open_engine

    assert config.engine
    _ffi.load(open_engine(Path(config.engine)).library)
