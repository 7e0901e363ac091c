"""What `pannier bench vram` found: as JSON, as a chart, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..memory import KINDS
from ..modelfile.cli import size_text
from .chart import Bars, Chart, short_size
from .load import Load
from .point import Place
from .series import Series

FIGURES = ("predicted", "allocated", "measured")
BY = {
    "process": "the driver's figure for the process",
    "device": "all that is in use on the device",
    "resident": "resident memory, pages of files left out",
}


@dataclass(frozen=True)
class Report:
    """All that was measured of one model."""

    model: str
    load: Load
    series: tuple[Series, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; sizes in bytes."""
        return {
            "model": self.model,
            "load": asdict(self.load),
            "series": [series.as_dict() for series in self.series],
        }

    def chart(self) -> Chart:
        """The KV cache by setup where several are compared; else what clients take beyond the
        first, by who says so."""
        return self._compared() if len(self.series) > 1 else _growth(self.model, self.series[0])

    def tables(self) -> RenderableType:
        """For people."""
        parts: list[RenderableType] = []
        for series in self.series:
            parts += [Text(f"{series.label} ({series.engine})", style="bold"), _table(series)]
            parts += [Text(line) for line in lines(series)]
        if len(self.series) > 1:
            parts.append(Text("\n".join(_ratios(self.series))))
        return Group(*parts)

    def _compared(self) -> Chart:
        points = self.series[0].points
        word = "allocated" if points[0].is_measured else "planned"
        return Chart(
            title=f"{self.model}: KV cache by number of clients",
            subtitle=f"a context of {points[-1].n_ctx:,} tokens for all of them, as {word}",
            groups=tuple(_clients(point.n_clients) for point in points),
            bars=tuple(
                Bars(series.label, tuple(point.kinds["kv"] for point in series.points))
                for series in self.series
            ),
        )


def _growth(model: str, series: Series) -> Chart:
    points = series.points[1:] or series.points
    base = series.points[0] if series.points[1:] else None
    names = FIGURES if series.last.is_measured else FIGURES[:1]

    def value(place_figure: str, index: int) -> float:
        point = points[index]
        less = series.figure(base, place_figure) if base else 0
        return series.figure(point, place_figure) - less

    return Chart(
        title=f"{model}: what clients take" + (" beyond the first" if base else ""),
        subtitle=f"{series.kv} cache, {series.own_tokens:,} tokens of each client's own",
        groups=tuple(_clients(point.n_clients) for point in points),
        bars=tuple(Bars(name, tuple(value(name, i) for i in range(len(points)))) for name in names),
    )


def lines(series: Series) -> list[str]:
    """What an additional client takes, in sentences."""
    each = series.each
    if each is None:
        return []
    own = f"{series.own_tokens} cells and a state, {size_text(series.own_bytes)}"
    pool = "" if series.grows else "; the cells are of a cache that is there anyway"
    found = [f"Each additional client needs {own}{pool}."]
    if each.allocated is None or each.measured is None or each.held is None:
        return [*found, f"It takes {short_size(each.predicted)} as planned."]
    is_whole = series.grows and series.own_bytes
    ratio = f" ({each.measured / series.own_bytes:.3f} of that)" if is_whole else ""
    return [
        *found,
        f"It takes {short_size(each.predicted)} as planned, {short_size(each.allocated)} as "
        f"allocated ({_signed(each.allocated - each.predicted)}), {short_size(each.measured)} as "
        f"measured ({_signed(each.measured - each.allocated)}){ratio}.",
        f"It held {short_size(each.held)} by the ledger when that was read.",
        *(f"{place.name} was measured by {BY[place.measured_by]}." for place in series.last.places),
    ]


def _table(series: Series) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    heads = [_clients(point.n_clients) for point in series.points]
    for i, head in enumerate(["", *heads, "each more"]):
        table.add_column(head, justify="right" if i else "left", no_wrap=True)
    table.add_row("tokens of context", *(f"{point.n_ctx:,}" for point in series.points))
    for kind in KINDS:
        _add(table, kind.replace("_", " "), [point.kinds[kind] for point in series.points], series)
    for i, place in enumerate(series.last.places):
        _add_place(table, series, i, place)
    return table


def _add_place(table: Table, series: Series, index: int, last: Place) -> None:
    """Three figures of one memory, and what is between them."""
    places = [point.places[index] for point in series.points]
    table.add_row(Text(last.name, style="dim"))
    figures = {name: [getattr(place, f"{name}_bytes") for place in places] for name in FIGURES}
    before: list[int] | None = None
    for name, values in figures.items():
        _add(table, f"  {name}", values, series)
        if before is not None:
            between = [_signed(new - old) for new, old in zip(values, before, strict=True)]
            table.add_row("    difference", *between)
        before = values


def _add(table: Table, name: str, values: Sequence[int], series: Series) -> None:
    if any(values):
        n = series.last.n_clients - series.first.n_clients
        mean = short_size((values[-1] - values[0]) / n) if n else ""
        table.add_row(name, *map(size_text, values), mean)


def _ratios(series: Sequence[Series]) -> list[str]:
    found = []
    for one in series:
        if (ratio := one.kv_ratio()) is not None:
            n = one.last.n_clients
            found.append(f"KV at {n} clients over that at 1: {ratio:.2f} ({one.label})")
    return found


def _clients(n: int) -> str:
    return f"{n} client{'s' if n > 1 else ''}"


def _signed(n_bytes: float) -> str:
    return "0" if round(n_bytes) == 0 else f"{'+' if n_bytes > 0 else ''}{short_size(n_bytes)}"
