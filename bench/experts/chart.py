"""Results as a bar chart."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from pannier.bench.chart import Bars, Chart, Unit, axis_top

NAMES = {
    "system": "system memory",
    "layers": "some layers",
    "cache": "cache",
    "auto": "auto",
}


def write_chart(report: dict[str, Any], path: Path) -> None:
    """Beside the results."""
    larger = report["mode"] == "larger than RAM"
    path.write_text((larger_chart(report) if larger else places_chart(report)).svg())


def larger_chart(report: dict[str, Any]) -> Chart:
    """What was predicted, what was measured, and llama-server."""
    rates = {
        "predicted": report["pannier"]["predicted_tokens_per_s"],
        "pannier": middle(report["pannier"]["turns"]),
        "llama-server": middle(report["llama-server"]["turns"]),
    }
    gib = [report[f"{name}_bytes"] / 2**30 for name in ("model", "limit")]
    return Chart(
        title="Tokens per second from a file larger than memory",
        subtitle=f"{report['model']}, {gib[0]:.1f} GiB in {gib[1]:.1f} GiB; one client",
        groups=tuple(rates),
        bars=(Bars("tokens/s", tuple(rates.values())),),
        unit=RATE,
    )


def places_chart(report: dict[str, Any]) -> Chart:
    """For the most clients that were measured, and for one."""
    rows = report["rows"]
    names = list(dict.fromkeys(row["setup"] for row in rows))
    counts = sorted({row["clients"] for row in rows})
    groups = [(name, n) for n in counts for name in names]

    def rates(server: str) -> tuple[float | None, ...]:
        found = {
            (row["setup"], row["clients"]): row["tokens_per_s"]
            for row in rows
            if row["server"] == server
        }
        return tuple(middle_of(found[key]) if key in found else None for key in groups)

    bounds = {
        (row["setup"], row["clients"]): row["roofline"]["tokens_per_s"]
        for row in rows
        if "roofline" in row
    }
    return Chart(
        title="Tokens per second by where the experts are",
        subtitle=f"{report['model']} on {report['backend']}"
        + (" (software)" if report["is_software"] else ""),
        groups=tuple(f"{NAMES[name]}, {n}" for name, n in groups),
        bars=(
            Bars("pannier", rates("pannier")),
            Bars("llama-server", rates("llama-server")),
            Bars("roofline", tuple(bounds.get(key) for key in groups)),
        ),
        unit=RATE,
    )


def middle(turns: list[dict[str, Any]]) -> float:
    return middle_of([turn["tokens_per_s"] for turn in turns])


def middle_of(values: list[float]) -> float:
    return statistics.median(values)


def rate(value: float) -> str:
    """Three digits."""
    return f"{value:.3g}"


RATE = Unit(axis_top, rate, rate)
