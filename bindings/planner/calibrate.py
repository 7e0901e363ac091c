"""The last word on a plan's places for experts: each of them tried, the fastest kept.

How often a cache hits is a matter of the text, and what a miss costs one of the machine; so
`--experts auto` lets each way decode a few tokens before the server starts. A result is kept
beside the engines, under the model, the machine and the ways that were compared.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from ..engine.cache import cache_directory
from ..engine.progress import say
from ..errors import PannierError
from ..part import whole
from .child import in_child
from .decode_rate import Rates, decode_rate
from .placing import Placed
from .plan import Plan

MARGIN = 1.03
"""So much faster than plain layers another way has to be: less is noise."""

Try = Callable[[Placed], Rates]


def calibrated(plan: Plan) -> Plan:
    """The plan with the way that decodes fastest here. One that does not work is left out, and
    said; where none does, it is the plan as it was."""
    if len(plan.ways) < 2:
        return plan
    known = _read()
    key = identity(plan)
    rates = known.get(key) or measured(plan, lambda way: in_child(decode_rate, way.config))
    if not rates:
        return plan
    if len(rates) == len(plan.ways):  # what failed may work the next time
        _write(known | {key: rates})
    chosen = best(rates)
    say(f"experts: {summary(rates)}; kept: {WORDS[chosen]}")
    return plan.placed_as(next(way for way in plan.ways if way.kind == chosen))


def measured(plan: Plan, rate_of: Try) -> dict[str, Rates]:
    """Rates of the plan's ways by their kinds."""
    rates: dict[str, Rates] = {}
    for way in plan.ways:
        say(f"trying {WORDS[way.kind]} ...")
        try:
            rates[way.kind] = rate_of(way)
        except PannierError as error:
            say(f"{WORDS[way.kind]} is left out: {error}")
    return rates


def best(rates: Mapping[str, Rates]) -> str:
    """The kind whose worse load, one client or all of them, gains the most over plain placement.

    Plain placement is what `--n-cpu-moe` does with the same memory. So nothing is chosen that is
    slower than that for one client or for all.
    """
    plain = next((kind for kind in ("layers", "system") if kind in rates), next(iter(rates)))

    def gain(kind: str) -> float:
        return 1.0 if kind == plain else rates[kind].gain_over(rates[plain]) / MARGIN

    return max([plain, *rates], key=gain)


WORDS = {
    "devices": "all experts on the devices",
    "layers": "the experts of some layers on the devices",
    "cache": "a cache of experts on the devices",
    "system": "all experts in system memory",
}


def summary(rates: Mapping[str, Rates]) -> str:
    """Tokens per second of each, for one client and for all at once."""
    return ", ".join(
        f"{kind} {rate.alone:.1f} tokens/s"
        + (f" ({rate.together:.1f} with {rate.n_together} clients)" if rate.n_together > 1 else "")
        for kind, rate in rates.items()
    )


def identity(plan: Plan) -> str:
    """Tells models, machines and comparisons apart."""
    ways = [replace(way.config, engine=None, model="") for way in plan.ways]
    engine = Path(plan.config.engine or "").name
    file = Path(plan.config.model).stat()
    driver = Path("/proc/driver/nvidia/version")
    version = driver.read_text() if driver.exists() else os.uname().release
    words = (ways, engine, plan.config.model, file.st_size, file.st_mtime_ns, version,
             os.cpu_count(), plan.wish.devices)  # fmt: skip
    return hashlib.sha256(repr(words).encode()).hexdigest()[:16]


def _path() -> Path:
    return cache_directory() / "calibration.json"


def _read() -> dict[str, dict[str, Rates]]:
    try:
        known = json.loads(_path().read_text())
        return {
            str(key): {str(kind): Rates(*rate) for kind, rate in rates.items()}
            for key, rates in known.items()
        }
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _write(known: Mapping[str, Mapping[str, Rates]]) -> None:
    path = _path()
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = {
        key: {kind: (rate.alone, rate.together, rate.n_together) for kind, rate in rates.items()}
        for key, rates in known.items()
    }
    with whole(path) as part:
        part.write_text(json.dumps(rows, indent=1))
