"""The best configuration for a wish: a context first, then the fastest place for the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from ..errors import PannierError, PlanError
from ..server.config import EngineConfig
from .choices import cheaper_choices, given_up, remedies
from .cost import Cost, Costs
from .facts import ModelFacts
from .paged import paging_of
from .placing import Placed, Placer
from .plan import Plan
from .speed import HITS, Bandwidths, HitCurve
from .wish import PLACING, Wish

TYPES = ("f16", "q8_0", "q4_0")
"""Types of the KV cache, the least lossy first."""
UBATCHES = (512, 256, 128)
CTX_STEP = 1024
CTX_PER_CLIENT = 4096
LEAST_CTX = 512
MOST_CLIENTS = 64
WORTH = 0.9
"""A lossier type has to give more than a tenth."""


def make_plan(
    wish: Wish,
    facts: ModelFacts,
    costs: Costs,
    bandwidths: Bandwidths | None = None,
    hits: HitCurve = HITS,
) -> Plan:
    """The best plan for a wish. Raises PlanError if there is none, with what would be one."""
    bandwidths = bandwidths or Bandwidths()
    search = Search(wish, facts, Remembered(costs), bandwidths, hits)
    placed = search.best()
    if placed is None:
        raise PlanError(refusal(search))
    return Plan(
        wish=wish,
        config=placed.config,
        cost=placed.cost,
        seconds=placed.seconds,
        given_up=given_up(placed, wish, facts),
        choices=cheaper_choices(placed, wish, search.placer),
        next_client=search.next_client(placed),
        paging=paging_of(placed.cost, facts, wish.budgets, placed.seconds),
        ways=search.ways(placed),
        bandwidths=bandwidths,
    )


class Remembered:
    """Costs that are asked for once."""

    def __init__(self, costs: Costs) -> None:
        self.costs = costs
        self.known: dict[EngineConfig, Cost | PannierError] = {}

    def __call__(self, config: EngineConfig) -> Cost:
        if config not in self.known:
            try:
                self.known[config] = self.costs(config)
            except PannierError as error:
                self.known[config] = error
        known = self.known[config]
        if isinstance(known, PannierError):
            raise known
        return known


class Search:
    """One wish's search."""

    def __init__(
        self,
        wish: Wish,
        facts: ModelFacts,
        costs: Costs,
        bandwidths: Bandwidths,
        hits: HitCurve = HITS,
    ) -> None:
        self.wish = wish
        self.facts = facts
        self.costs = costs
        self.placer = Placer(wish, facts, costs, bandwidths, hits)

    def freed(self, wish: Wish) -> Placed | None:
        """What is best for a wish with fewer conditions."""
        placer = self.placer
        return Search(wish, self.facts, self.costs, placer.bandwidths, placer.hits).best()

    def best(self) -> Placed | None:
        """By what is preferred; where that finds nothing, by what fits at all."""
        wanted = {"context": self.most_context, "clients": self.most_clients}
        find = wanted.get(self.wish.prefer)
        return (find() if find else None) or self.fastest()

    def fastest(self) -> Placed | None:
        """The weights first, then as much context as is left room for."""
        for config in (packed for shape in self.shapes() for packed in self.packed(shape)):
            ways = [placed for typed in self.typed(config) if (placed := self.placer.place(typed))]
            if ways:
                best = min(way.seconds for way in ways)
                placed = next(way for way in ways if way.seconds * WORTH <= best)
                return self.grown(placed)
        return None

    def most_context(self) -> Placed | None:
        """The largest context beside all layers, then the experts that still fit."""
        if "n_ctx" in self.wish.fixed:
            return None
        first = next(self.shapes())
        least, most = first.n_ctx // CTX_STEP, self.facts.n_ctx_train // CTX_STEP
        return self._most(first, least, most, lambda config, n: replace(config, n_ctx=n * CTX_STEP))

    def most_clients(self) -> Placed | None:
        """The most clients with the least context each, then the experts that still fit."""
        if "n_parallel" in self.wish.fixed:
            return None
        return self._most(next(self.shapes()), 1, MOST_CLIENTS, self._with_clients)

    def _most(
        self,
        config: EngineConfig,
        least: int,
        most: int,
        grow: Callable[[EngineConfig, int], EngineConfig],
    ) -> Placed | None:
        """The largest number that fits with the layers alone, in the least lossy type that gives
        nearly as much as any; weights are packed for the CPU if anything fits so."""
        found = (self._most_of(one, least, most, grow) for one in self.packed(config))
        return next(filter(None, found), None)

    def _most_of(
        self,
        config: EngineConfig,
        least: int,
        most: int,
        grow: Callable[[EngineConfig, int], EngineConfig],
    ) -> Placed | None:
        fits = {
            typed: largest(least, most, lambda n, t=typed: bool(self._layers(grow(t, n))))  # type: ignore[misc]
            for typed in self.typed(config)
        }
        best = max(fits.values(), default=0)
        if best <= 0:
            return None
        typed, n = next((typed, n) for typed, n in fits.items() if n >= WORTH * best)
        return self.placer.place(grow(typed, n))

    def _layers(self, config: EngineConfig) -> Placed | None:
        if self.wish.places:
            return self.placer.layers_only(config)
        return self.placer.try_as_is(config)

    def _with_clients(self, config: EngineConfig, n: int) -> EngineConfig:
        n_ctx = config.n_ctx if "n_ctx" in self.wish.fixed else self.least_ctx(n)
        return self.with_batches(replace(config, n_parallel=n, n_ctx=n_ctx))

    def least_ctx(self, n_parallel: int) -> int:
        """Cells for so many clients that can do with little."""
        return min(n_parallel * CTX_PER_CLIENT, max(self.facts.n_ctx_train, LEAST_CTX))

    def shapes(self) -> Iterator[EngineConfig]:
        """Contexts, the wanted one first, then smaller ones: graphs, clients, cells."""
        config, fixed = self.wish.config, self.wish.fixed
        clients = [config.n_parallel]
        if "n_parallel" not in fixed:
            clients += [n for n in (2, 1) if n < config.n_parallel]
        for n_parallel in clients:
            one = self._with_clients(config, n_parallel)
            ubatches = [one.n_ubatch] if "n_ubatch" in fixed else UBATCHES
            yield from (self.with_batches(replace(one, n_ubatch=n)) for n in ubatches)
        n_ctx = one.n_ctx // 2
        while "n_ctx" not in fixed and n_ctx >= LEAST_CTX:
            yield self.with_batches(replace(one, n_ubatch=ubatches[-1], n_ctx=n_ctx))
            n_ctx //= 2

    def with_batches(self, config: EngineConfig) -> EngineConfig:
        """With a step that holds a token of each client and a whole ubatch."""
        if "n_batch" in self.wish.fixed:
            return config
        return replace(config, n_batch=max(config.n_batch, config.n_ubatch, config.n_parallel))

    def typed(self, config: EngineConfig) -> list[EngineConfig]:
        """In each type that the KV cache may have."""
        if {"cache_type_k", "cache_type_v"} & self.wish.fixed:
            return [config]
        types = TYPES[:1] if config.flash_attn == "off" else TYPES
        return [replace(config, cache_type_k=type, cache_type_v=type) for type in types]

    def packed(self, config: EngineConfig) -> list[EngineConfig]:
        """With weights rearranged for the CPU's kernels, which takes memory that the file's pages
        do not; and without, if nobody said which."""
        if "repack" in self.wish.fixed or not config.repack:
            return [config]
        return [config, replace(config, repack=False)]

    def grown(self, placed: Placed) -> Placed:
        """With the largest context that fits as the weights are placed."""
        if "n_ctx" in self.wish.fixed or placed.config.n_ctx < self.least_ctx(1):
            return placed
        least, most = placed.config.n_ctx // CTX_STEP, self.facts.n_ctx_train // CTX_STEP

        def sized(n: int) -> Placed | None:
            return self.placer.try_as_is(replace(placed.config, n_ctx=n * CTX_STEP))

        n = largest(least + 1, most, lambda n: sized(n) is not None)
        return (sized(n) if n else None) or placed

    def ways(self, placed: Placed) -> tuple[Placed, ...]:
        """Where else the experts could be, around the context that was chosen."""
        if not self.wish.places or placed.kind == "devices":
            return ()
        free = PLACING | ({"moe_cache_mib"} - self.wish.fixed)
        open = {name: getattr(self.wish.config, name) for name in free}
        found = {way.kind: way for way in self.placer.ways(replace(placed.config, **open))}
        ways = (found | {placed.kind: placed}).values()
        return tuple(sorted(ways, key=lambda way: way.seconds)) if len(ways) > 1 else ()

    def next_client(self, placed: Placed) -> Cost | None:
        """The cost with one client more, who has a share of cells as large as the others'."""
        config, cost = placed.config, placed.cost
        n = config.n_parallel + 1
        more = replace(
            config,
            n_parallel=n,
            n_ctx=cost.n_ctx // config.n_parallel * n,
            n_prefixes=max(0, cost.n_sequences - config.n_parallel),
        )
        try:
            return self.costs(self.with_batches(more))
        except PannierError:
            return None


def largest(low: int, high: int, is_good: Callable[[int], bool]) -> int:
    """The largest number of a range that is good, if all below it are; 0 if none is."""
    best = 0
    while low <= high:
        middle = (low + high + 1) // 2
        if is_good(middle):
            best, low = middle, middle + 1
        else:
            high = middle - 1
    return best


def refusal(search: Search) -> str:
    """By how much the smallest configuration does not fit, and what would."""
    wish = search.wish
    smallest = search.packed(search.typed(list(search.shapes())[-1])[-1])[-1]
    if wish.places:
        smallest = replace(smallest, n_gpu_layers=0)
    cost = search.costs(smallest)  # where it cannot be at all, the engine says why
    rows = [
        f"{device} has to hold {(n_bytes + room(wish, device)) / 2**30:.2f} GiB, "
        f"{n_bytes / 2**20:.0f} MiB more than there is room for"
        for device, n_bytes in cost.excess(wish.budgets).items()
    ]
    found = remedies(wish, search.freed)
    return "; ".join(rows) + (f". What would fit: {found}" if found else "")


def room(wish: Wish, device: str) -> int:
    """What a device has for buffers."""
    return next(one.usable_bytes for one in wish.budgets if one.device == device)
