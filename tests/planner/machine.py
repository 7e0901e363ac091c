"""A machine that exists in figures only: what a configuration would take there."""

from __future__ import annotations

from dataclasses import dataclass, field

from pannier.errors import ContextError
from pannier.expert_words import parse_experts
from pannier.memory import MemoryRow
from pannier.planner import Budget, Cost, ModelFacts, Wish
from pannier.planner.facts import Layer
from pannier.server.config import EngineConfig

MIB, GIB = 1 << 20, 1 << 30
CELL = {"f16": 2.0, "q8_0": 1.0625, "q4_0": 0.5625}


def moe(n_layers=8, expert=GIB, rest=128 * MIB, n_ctx_train=131072):
    """A mixture of experts whose layers all attend."""
    layers = tuple(Layer(rest, expert) for _ in range(n_layers))
    return ModelFacts(layers, 256 * MIB, n_ctx_train, n_expert=64, n_expert_used=8)


def dense(n_layers=8, rest=GIB, n_ctx_train=131072):
    """A model without experts."""
    return ModelFacts(tuple(Layer(rest) for _ in range(n_layers)), 256 * MIB, n_ctx_train)


def wish(*limits, prefer="speed", headroom=0, host=None, fixed=(), **config):
    """What fits devices of these sizes; `config` is fixed, and so is what `fixed` names."""
    budgets = [Budget(f"GPU{i}", limit, headroom) for i, limit in enumerate(limits)]
    if host is not None:
        budgets.append(Budget("CPU", host, type="cpu"))
    names = frozenset(config) | frozenset(fixed)
    return Wish(EngineConfig(model="m.gguf", **config), names, tuple(budgets), prefer)


@dataclass
class Machine:
    """Costs of configurations on `n_devices` devices; a function, as the search wants it."""

    facts: ModelFacts
    n_devices: int = 1
    values: int = 1024
    """Keys and values of a token in a layer that attends."""
    state: int = 16 * MIB
    compute: int = 256 * MIB
    """For a ubatch of 512 tokens, on each device that has layers."""
    packs: bool = False
    """Weights in system memory are pages of the file unless they are rearranged."""
    mapped: bool = False
    """Weights in system memory are pages of the file."""
    asked: list[EngineConfig] = field(default_factory=list)

    def __call__(self, config: EngineConfig) -> Cost:
        self.asked.append(config)
        if config.n_batch < config.n_parallel:
            raise ContextError("a batch cannot hold a token of each sequence")
        used: dict[tuple[str, str], int] = {}
        experts: dict[str, int] = {}
        others: dict[str, int] = {}

        def add(kind, device, n_bytes):
            used[kind, device] = used.get((kind, device), 0) + int(n_bytes)

        homes = self.homes(config)
        for i, layer in enumerate(self.facts.layers):
            device = homes[i]
            on_cpu = self.experts_on_cpu(config, i)
            expert_home = "CPU" if on_cpu else device
            add("weights", device, layer.rest_bytes)
            add("weights", expert_home, layer.expert_bytes)
            experts[expert_home] = experts.get(expert_home, 0) + layer.expert_bytes
            others[device] = others.get(device, 0) + layer.rest_bytes
            if layer.attends:
                cells = self.values / 2 * (CELL[config.cache_type_k] + CELL[config.cache_type_v])
                add("kv", device, cells * config.n_ctx)
            if layer.is_recurrent:
                add("recurrent", device, self.state * config.n_parallel)
        add("weights", homes[-1], self.facts.output_bytes)
        for device in {*homes, "CPU"}:
            add("compute", device, self.compute * config.n_ubatch / 512)
        if config.moe_cache_mib:
            for device in {*homes} - {"CPU"}:
                add("moe_cache", device, config.moe_cache_mib * MIB / self.n_devices)
        rows = tuple(
            MemoryRow(device, self.buffer(config, kind, device), device == "CPU", kind, n_bytes)
            for (kind, device), n_bytes in used.items()
        )
        n_attending = sum(layer.attends for layer in self.facts.layers)
        return Cost(
            rows=rows,
            n_ctx=config.n_ctx,
            n_sequences=config.n_parallel,
            kv_cell_bytes=int(self.values * CELL[config.cache_type_k] * n_attending),
            state_bytes=self.state * any(layer.is_recurrent for layer in self.facts.layers),
            expert_bytes=experts,
            weight_bytes=others,
        )

    def buffer(self, config, kind, device):
        packed = self.packs and config.repack
        is_file = (self.packs or self.mapped) and (kind, device) == ("weights", "CPU")
        return f"{device}_Mapped" if is_file and not packed else device

    def homes(self, config):
        """The device of each layer and of the output, as llama.cpp deals them."""
        n_all = len(self.facts.layers) + 1
        if not self.n_devices:
            return ["CPU"] * n_all
        n_gpu = n_all if config.n_gpu_layers < 0 else min(config.n_gpu_layers, n_all)
        shares = config.tensor_split or (1.0,) * self.n_devices
        homes = ["CPU"] * (n_all - n_gpu)
        for i in range(n_gpu):
            device = next(
                d for d in range(self.n_devices) if i / n_gpu < sum(shares[: d + 1]) / sum(shares)
            )
            homes.append(f"GPU{device}")
        return homes

    def experts_on_cpu(self, config, layer):
        words = parse_experts(config.experts or "gpu").by_layer(self.facts.moe_layers)
        return layer in words["cpu"] or layer < config.n_cpu_moe
