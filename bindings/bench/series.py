"""A row of servers with more and more clients, and what each additional client takes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from .point import Point


@dataclass(frozen=True)
class Each:
    """Bytes of an additional client, from the first server to the last: the mean."""

    predicted: float
    allocated: float | None = None
    """None, as the next, for a plan alone."""
    measured: float | None = None
    held: float | None = None
    """By the ledger, at the moment of the measurement."""


@dataclass(frozen=True)
class Series:
    """The servers of one setup."""

    label: str
    engine: str
    kv: str
    """"unified" or "split"."""
    own_tokens: int
    """Cells that an additional client needs for itself."""
    arguments: tuple[str, ...]
    """Of the largest server, as `pannier serve` takes them."""
    points: tuple[Point, ...]

    @property
    def first(self) -> Point:
        return self.points[0]

    @property
    def last(self) -> Point:
        return self.points[-1]

    @property
    def grows(self) -> bool:
        """Whether each server has the context that its clients fill; else all have the same."""
        return self.first.n_ctx != self.last.n_ctx

    @property
    def own_bytes(self) -> int:
        """A recurrent state, a window's cells, and the cells of its own: what a client has to
        take."""
        last = self.last
        return last.state_bytes + last.window_bytes + self.own_tokens * last.cell_bytes

    @property
    def each(self) -> Each | None:
        """None for one server alone."""
        n = self.last.n_clients - self.first.n_clients
        if n == 0:
            return None
        measured = self.last.is_measured
        return Each(
            predicted=self._growth("predicted") / n,
            allocated=self._growth("allocated") / n if measured else None,
            measured=self._growth("measured") / n if measured else None,
            held=(_held(self.last) - _held(self.first)) / n if measured else None,
        )

    def figure(self, point: Point, name: str) -> int:
        """What is "predicted", "allocated" or "measured" where clients are; what is predicted on
        all devices for a plan alone."""
        if not point.is_measured:
            return sum(sum(kinds.values()) for kinds in point.predicted.values())
        return sum(int(getattr(place, f"{name}_bytes")) for place in point.client_places)

    def _growth(self, name: str) -> int:
        return self.figure(self.last, name) - self.figure(self.first, name)

    def kv_ratio(self) -> float | None:
        """The largest server's KV cache over the first one's."""
        first = self.first.kinds["kv"]
        return self.last.kinds["kv"] / first if first else None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; sizes in bytes."""
        each = self.each
        return {
            "label": self.label,
            "engine": self.engine,
            "kv": self.kv,
            "own_tokens": self.own_tokens,
            "own_bytes": self.own_bytes,
            "arguments": list(self.arguments),
            "kv_ratio": self.kv_ratio(),
            "each_additional_client": asdict(each) | self._ratios(each) if each else None,
            "points": [_point(point) for point in self.points],
        }

    def _ratios(self, each: Each) -> dict[str, float]:
        named = {"allocated": each.allocated, "measured": each.measured, "held": each.held}
        return {
            f"{name}_over_own": n_bytes / self.own_bytes
            for name, n_bytes in named.items()
            if n_bytes is not None and self.own_bytes
        }


def _held(point: Point) -> int:
    assert point.held is not None
    return point.held.bytes


def _point(point: Point) -> dict[str, Any]:
    row = asdict(point)
    if not point.is_measured:
        return {key: value for key, value in row.items() if value not in ({}, (), None)}
    return row | {"allocated_less_predicted": point.difference}
