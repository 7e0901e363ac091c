"""A trace in figures, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from math import log2
from statistics import mean
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..bench.chart import PERCENT, Bars, Chart
from ..modelfile.cli import size_text
from ..planner.speed import Bandwidths
from .pays import Pays, SharePays, pays
from .replay import PolicyName, Replayer
from .statistics import TOP_SHARES, LayerStatistics, layer_statistics
from .trace import Trace

CHARTED: dict[PolicyName, str] = {
    "lru": "least recently used (llama.cpp's)",
    "lfu": "least frequently used",
    "static": "static set",
}
BAR_WIDTH = 40
RATES = ("gpu", "cpu", "link", "link_mapped", "sync_s")


@dataclass(frozen=True)
class TraceReport:
    """All that `pannier trace show` shows."""

    trace: Trace
    shares: tuple[float, ...]
    rates: Bandwidths

    @cached_property
    def layers(self) -> tuple[LayerStatistics, ...]:
        return layer_statistics(self.trace)

    @cached_property
    def pays(self) -> Pays:
        return pays(Replayer(self.trace), self.shares, self.rates)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: bytes, bytes/s, seconds, shares of 1."""
        trace, found = self.trace, self.pays
        rates = {**asdict(self.rates), "measured": sorted(self.rates.measured)}
        return {
            "model": vars(trace.model),
            "engine": trace.engine,
            "n_tokens": trace.n_tokens,
            "n_ubatches": len(trace.ubatches),
            "expert_bytes": trace.all_bytes,
            "expert_bytes_per_token": trace.token_bytes,
            "top_shares": list(TOP_SHARES),
            "layers": [asdict(layer) for layer in self.layers],
            "rates": rates,
            "tokens_per_second": {"all_on_cpu": found.all_on_cpu, "all_on_gpu": found.all_on_gpu},
            "caches": [{**asdict(share), "pays": share.pays} for share in found.shares],
        }

    def chart(self) -> Chart:
        """Hit rates by size and policy."""
        model = self.trace.model
        return Chart(
            title=f"Experts that a cache has: {model.name or model.file}",
            subtitle=f"{model.n_expert_used} of {model.n_expert} experts for each token, "
            f"{len(self.trace.layers)} layers, {self.trace.n_tokens} tokens",
            groups=tuple(f"{share:.3g} % of the experts" for share in self._percents()),
            bars=tuple(
                Bars(words, tuple(share.hit_rates[policy] for share in self.pays.shares))
                for policy, words in CHARTED.items()
            ),
            unit=PERCENT,
        )

    def tables(self) -> RenderableType:
        """For a terminal."""
        return Group(
            Text(self._head(), style="bold"),
            self._layers(),
            Text(""),
            *self._bars(),
            Text(""),
            self._speeds(),
            Text(self._rates()),
            Text("\n".join(self.verdicts()), style="bold"),
        )

    def verdicts(self) -> list[str]:
        """Whether a cache pays, for each size."""
        return [_verdict(share, self.pays) for share in self.pays.shares]

    def _head(self) -> str:
        trace = self.trace
        model = trace.model
        return (
            f"{model.name or model.file}: {len(trace.layers)} layers with {model.n_expert} experts "
            f"of which a token uses {model.n_expert_used}; {trace.n_tokens} tokens in "
            f"{len(trace.ubatches)} ubatches; {size_text(trace.token_bytes)} of "
            f"{size_text(trace.all_bytes)} are read for a token"
        )

    def _layers(self) -> Table:
        table = _table("layer", *(f"top {share:.0%}" for share in TOP_SHARES), "skew",
                       "bits", "repeated", "by chance")  # fmt: skip
        for layer in self.layers:
            table.add_row(str(layer.layer), *_cells(layer))
        if len(self.layers) > 1:
            table.add_row("mean", *_cells(average(self.layers)), style="bold")
        table.caption = (
            f"top: share of the uses that the most used experts have; bits: entropy, "
            f"{log2(self.trace.model.n_expert):.3g} if all are used alike; repeated: share of a "
            "token's experts that the token before used"
        )
        table.caption_justify = "left"
        return table

    def _bars(self) -> list[RenderableType]:
        """A chart of letters."""
        rows: list[RenderableType] = [Text("experts that a cache has when they are needed")]
        for percent, share in zip(self._percents(), self.pays.shares, strict=True):
            for i, (policy, rate) in enumerate(share.hit_rates.items()):
                head = f"{percent:>5.3g} %" if i == 0 else " " * 7
                bar = "█" * round((rate or 0.0) * BAR_WIDTH)
                words = "too small for a token" if rate is None else f"{rate:.1%}"
                rows.append(Text(f"{head}  {policy:<11} {bar:<{BAR_WIDTH}} {words}"))
        return rows

    def _speeds(self) -> Table:
        table = _table("on the device", "bytes", "whole layers", "cache", "cache, mapped", "needs")
        for percent, share in zip(self._percents(), self.pays.shares, strict=True):
            table.add_row(
                f"{percent:.3g} % of the experts",
                size_text(share.n_bytes),
                *(f"{rate:.1f}" for rate in (share.static, share.cached, share.cached_mapped)),
                f"{share.needed:.0%} hits" if share.needed <= 1 else "-",
            )
        table.caption = (
            f"tokens/s of one client by bandwidth alone; {self.pays.all_on_cpu:.1f} with all "
            f"experts in system memory, {self.pays.all_on_gpu:.1f} with all on the device; needs: "
            "hits from which a cache is faster than whole layers"
        )
        table.caption_justify = "left"
        return table

    def _rates(self) -> str:
        rates = self.rates
        values = ", ".join(
            f"{name.removesuffix('_s').replace('_', ' ')} {_rate_text(name, getattr(rates, name))}"
            + ("" if name in rates.measured else " (assumed)")
            for name in RATES
        )
        lacks = any(name not in rates.measured for name in RATES)
        return f"rates: {values}" + ("; `pannier bench machine` measures them" if lacks else "")

    def _percents(self) -> list[float]:
        return [100 * share for share in self.shares]


def average(layers: Sequence[LayerStatistics]) -> LayerStatistics:
    """The mean of all layers."""
    known = [layer.repeated for layer in layers if layer.repeated is not None]
    return LayerStatistics(
        layer=-1,
        n_uses=sum(layer.n_uses for layer in layers),
        top=tuple(mean(parts) for parts in zip(*(layer.top for layer in layers), strict=True)),
        skew=mean(layer.skew for layer in layers),
        entropy=mean(layer.entropy for layer in layers),
        repeated=mean(known) if known else None,
        chance=mean(layer.chance for layer in layers),
    )


def _cells(layer: LayerStatistics) -> list[str]:
    return [
        *(f"{share:.0%}" for share in layer.top),
        f"{layer.skew:.2f}",
        f"{layer.entropy:.2f}",
        "-" if layer.repeated is None else f"{layer.repeated:.0%}",
        f"{layer.chance:.0%}",
    ]


def _verdict(share: SharePays, found: Pays) -> str:
    best = max(share.cached, share.cached_mapped)
    size = f"{100 * share.share:.3g} % ({size_text(share.n_bytes)})"
    against = f"{best:.1f} tokens/s with a cache, {share.static:.1f} with whole layers"
    if share.pays:
        only = "" if share.cached_mapped > share.static else ", if experts are in pinned memory"
        return f"{size}: a cache pays{only}: {against}"
    return f"{size}: a cache does not pay: {against}"


def _rate_text(name: str, value: float) -> str:
    return f"{value * 1e6:.3g} us" if name == "sync_s" else f"{value / 1e9:.3g} GB/s"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left")
    return table
