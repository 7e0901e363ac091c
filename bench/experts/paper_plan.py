"""The plan of a model for a card that this machine does not have.

    GGML_VK_VISIBLE_DEVICES=0 python bench/experts/paper_plan.py q.gguf --vram 8G --host 24G

All that is no expert is what the engine says for a software Vulkan driver, to the byte. That driver
binds no expert matrix of a large model, so experts and a cache of them are added by their bytes, as
they are in the file. Rates are the assumed ones: a GPU of 400 GB/s, a CPU of 60, a link of 10.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from pannier import _ffi
from pannier.engine import BuildOptions, ensure_engine
from pannier.memory import MemoryRow
from pannier.modelfile import open_model_file
from pannier.planner import Budget, Cost, ModelFacts, Wish, make_plan
from pannier.planner.budget import HOST
from pannier.planner.engine_costs import EngineCosts
from pannier.planner.survey import used_devices
from pannier.server.config import EngineConfig
from pannier.server.flags.values import sizes


class PaperCosts:
    """Costs of configurations on a device that takes any expert."""

    def __init__(self, facts: ModelFacts, device: str) -> None:
        self.facts = facts
        self.device = device
        self.engine = EngineCosts()

    def __call__(self, config: EngineConfig) -> Cost:
        bare = replace(config, experts="cpu", n_cpu_moe=0, moe_cache_mib=0, repack=False)
        cost = self.engine(bare)
        layers = self.facts.layers
        n_first = len(layers) + 1 - (config.n_gpu_layers if config.n_gpu_layers >= 0 else 1 << 30)
        moved = sum(
            layers[i].expert_bytes
            for i in self.facts.moe_layers
            if i >= n_first and not on_cpu(config.experts, i)
        )
        cached = config.moe_cache_mib << 20
        rows = (
            *(
                replace(row, bytes=row.bytes - moved) if is_mapped(row) else row
                for row in cost.rows
            ),
            MemoryRow(self.device, self.device, False, "weights", moved),
            MemoryRow(self.device, self.device, False, "moe_cache", cached),
        )
        on_host = cost.expert_bytes[HOST] - moved
        return replace(cost, rows=rows, expert_bytes={HOST: on_host, self.device: moved})


def is_mapped(row: MemoryRow) -> bool:
    return row.buffer_type.endswith("_Mapped")


def on_cpu(experts: str | None, layer: int) -> bool:
    """By `--experts cpu` or `cpu:0-23,30`, as plans write it."""
    where, _, layers = (experts or "gpu").partition(":")
    if where != "cpu" or not layers:
        return where == "cpu"
    ranges = (part.partition("-") for part in layers.split(","))
    return any(int(first) <= layer <= int(last or first) for first, _, last in ranges)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--vram", type=lambda text: sizes(text)[0], default=8 << 30)
    parser.add_argument("--host", type=lambda text: sizes(text)[0], default=64 << 30)
    parser.add_argument("-np", type=int, default=1)
    parser.add_argument("-c", type=int, default=32768)
    args = parser.parse_args(argv)
    engine = ensure_engine(BuildOptions(backend="vulkan"))
    _ffi.load(engine.library)
    base = EngineConfig(str(args.model), repack=False, n_parallel=args.np, n_ctx=args.c)
    [device] = used_devices(base)
    facts = ModelFacts.of(open_model_file(args.model))
    budgets = (Budget(device.name, args.vram), Budget(HOST, args.host, type="cpu"))
    config = replace(base, devices=(device.name,))
    wish = Wish(config, frozenset({"repack", "n_parallel", "n_ctx"}), budgets)
    plan = make_plan(wish, facts, PaperCosts(facts, device.name))

    from rich.console import Console

    from pannier.planner.table import as_table

    console = Console(soft_wrap=True, highlight=False)
    console.print(as_table(plan))
    for way in plan.ways:
        console.print(f"{way.kind}: about {1 / way.seconds:.1f} tokens/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
