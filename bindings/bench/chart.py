"""Bar charts as SVG, in plain Python: readable on light and on dark, and to a screen reader."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from ..modelfile.cli import size_text

WIDTH, HEIGHT = 760, 400
LEFT, RIGHT, TOP, BOTTOM = 84, 20, 92, 44
GAP = 0.28
"""Of a group's width, left free beside its bars."""
N_LINES = 4
COLORS = (("#0072b2", "#56b4e9"), ("#d55e00", "#f0a030"), ("#008060", "#40c9a2"))
"""Light and dark, told apart by colour-blind eyes too (after Okabe and Ito)."""


@dataclass(frozen=True)
class Bars:
    """One bar in each group; None leaves it out."""

    name: str
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class Unit:
    """What heights are of."""

    top: Callable[[float], float]
    """Where the axis ends, for the largest value."""
    words: Callable[[float], str]
    short: Callable[[float], str]
    """For a label."""


@dataclass(frozen=True)
class Chart:
    """Groups of bars, whose heights are bytes if nobody says otherwise."""

    title: str
    subtitle: str
    groups: tuple[str, ...]
    bars: tuple[Bars, ...]
    unit: Unit = field(default_factory=lambda: BYTES)

    def __post_init__(self) -> None:
        assert 0 < len(self.bars) <= len(COLORS)
        assert all(len(bars.values) == len(self.groups) > 0 for bars in self.bars)

    @property
    def most(self) -> float:
        return max((value or 0 for bars in self.bars for value in bars.values), default=0)

    def svg(self) -> str:
        """The whole file."""
        top = self.unit.top(self.most)
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            f'width="{WIDTH}" height="{HEIGHT}" role="img" aria-labelledby="title words">',
            f'<title id="title">{escape(self.title)}</title>',
            f'<desc id="words">{escape(self.words())}</desc>',
            f"<style>{style(len(self.bars))}</style>",
            f'<rect class="ground" width="{WIDTH}" height="{HEIGHT}"/>',
            text(LEFT, 26, self.title, "head"),
            text(LEFT, 46, self.subtitle, "note"),
            *self._legend(),
            *_axis(top, self.unit),
        ]
        for group in range(len(self.groups)):
            parts += self._group(group, top)
        return "\n".join([*parts, "</svg>", ""])

    def words(self) -> str:
        """All that the chart shows."""
        rows = []
        for i, group in enumerate(self.groups):
            cells = [
                f"{bars.name} {self.unit.words(value)}"
                for bars in self.bars
                if (value := bars.values[i]) is not None
            ]
            rows.append(f"{group}: {', '.join(cells)}")
        return f"{self.subtitle}. {'; '.join(rows)}."

    def _legend(self) -> list[str]:
        parts, x = [], float(LEFT)
        for i, bars in enumerate(self.bars):
            parts.append(f'<rect class="bar{i}" x="{x:.0f}" y="60" width="12" height="12"/>')
            parts.append(text(x + 18, 70, bars.name))
            x += 40 + 6.6 * len(bars.name)
        return parts

    def _group(self, group: int, top: float) -> list[str]:
        width = (WIDTH - LEFT - RIGHT) / len(self.groups)
        start = LEFT + group * width
        bar = width * (1 - GAP) / len(self.bars)
        parts = [text(start + width / 2, HEIGHT - BOTTOM + 22, self.groups[group], "middle")]
        for i, bars in enumerate(self.bars):
            value = bars.values[group]
            if value is None:
                continue
            x = start + width * GAP / 2 + i * bar
            y = height_of(value, top)
            parts.append(
                f'<rect class="bar{i}" x="{x:.1f}" y="{y:.1f}" width="{bar - 2:.1f}" '
                f'height="{HEIGHT - BOTTOM - y:.1f}"/>'
            )
            parts.append(text(x + bar / 2, y - 5, self.unit.short(value), "middle small"))
        return parts


def style(n_bars: int) -> str:
    """Light, and dark where the reader prefers it."""
    light = ["text{font:13px system-ui,sans-serif;fill:#1f2328}"]
    light += [".ground{fill:#fff}.line{stroke:#d0d7de}.note{fill:#59636e}"]
    light += [".head{font-size:16px;font-weight:600}.middle{text-anchor:middle}"]
    light += [".end{text-anchor:end}.small{font-size:11px}"]
    light += [f".bar{i}{{fill:{COLORS[i][0]}}}" for i in range(n_bars)]
    dark = ["text{fill:#e6edf3}.ground{fill:#0d1117}.line{stroke:#30363d}.note{fill:#9198a1}"]
    dark += [f".bar{i}{{fill:{COLORS[i][1]}}}" for i in range(n_bars)]
    return f"{''.join(light)}@media (prefers-color-scheme:dark){{{''.join(dark)}}}"


def axis_top(most: float) -> float:
    """A round number of some unit that is not less."""
    unit = 1.0
    while most > 1024 * unit:
        unit *= 1024
    steps = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
    return next(step * unit for step in steps if step * unit >= most)


def height_of(value: float, top: float) -> float:
    """Where on the page a value is."""
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * min(max(value, 0.0) / top, 1.0)


def short_size(value: float) -> str:
    """Three digits and a unit; a sign where it is below 0."""
    number, _, unit = size_text(abs(round(value))).partition(" ")
    return f"{'-' if round(value) < 0 else ''}{float(number):.3g} {unit}"


def text(x: float, y: float, words: str, kind: str = "") -> str:
    """A line of text; `kind` is its classes."""
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>'


def percent(value: float) -> str:
    """Of a share."""
    return f"{value:.0%}"


def _axis(top: float, unit: Unit) -> list[str]:
    parts = []
    for i in range(N_LINES + 1):
        value = top * i / N_LINES
        y = height_of(value, top)
        parts.append(
            f'<line class="line" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(text(LEFT - 8, y + 4, unit.short(value), "end small"))
    return parts


BYTES = Unit(axis_top, lambda value: size_text(round(value)), short_size)
PERCENT = Unit(lambda most: 1.0, percent, percent)
