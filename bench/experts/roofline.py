"""What this machine's bandwidths allow: tokens per second, were nothing but bytes to be moved.

Rates are `pannier bench machine`'s; what was not measured is assumed, and the result says so.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pannier.server.config import EngineConfig
from pannier.server.flags.parser import read_given
from pannier.server.flags.settings import engine_config
from pannier.server.flags.table import PLAN_GROUPS


@dataclass(frozen=True)
class Asked:
    """A configuration, and how many decode at once."""

    config: EngineConfig
    n_clients: int


def config_of(model: str, flags: Iterable[str], engine: str = "") -> EngineConfig:
    """What `pannier plan` makes of these flags."""
    from pannier.planner.cli import configure

    parser = argparse.ArgumentParser()
    configure(parser)
    given = read_given(parser.parse_args([model, *flags]), PLAN_GROUPS)
    return engine_config(given, model, engine)


def roofline(config: EngineConfig, n_clients: int) -> dict[str, Any]:
    """Tokens per second of all clients, and which rates that was reckoned with."""
    from pannier.planner.child import in_child

    return in_child(_roofline, Asked(config, n_clients))


def _roofline(asked: Asked) -> dict[str, Any]:
    from pannier import _ffi
    from pannier.device import devices
    from pannier.engine.store import open_engine
    from pannier.modelfile import open_model_file
    from pannier.planner.engine_costs import EngineCosts
    from pannier.planner.facts import ModelFacts
    from pannier.planner.machine import measured
    from pannier.planner.speed import Bandwidths, seconds_per_token
    from pannier.planner.survey import budgets_of

    config = asked.config
    _ffi.load(open_engine(Path(str(config.engine))).library)
    facts = ModelFacts.of(open_model_file(config.model))
    together = 1 - (1 - facts.used_fraction) ** asked.n_clients
    facts = replace(facts, n_expert_used=max(1, round(together * facts.n_expert)))
    known = measured(devices()) or Bandwidths()
    costs = EngineCosts()
    try:
        seconds = seconds_per_token(costs(config), config, facts, budgets_of(config, ()), known)
    finally:
        costs.close()
    return {
        "tokens_per_s": round(asked.n_clients / seconds, 2),
        "measured_rates": sorted(known.measured),
    }
