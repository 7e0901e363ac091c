"""Which tensors go where: rows of (tensor name pattern, buffer type)."""

from __future__ import annotations

EXPERTS = r"\.ffn_(up|down|gate|gate_up)_(ch|)exps"
"""Names of the routed experts' tensors (llama.cpp, `common/common.h`)."""

Override = tuple[str, str]


def expert_overrides(*, cpu_moe: bool = False, n_cpu_moe: int = 0) -> list[Override]:
    """Rows that keep experts in CPU memory: of all layers, or of the first `n_cpu_moe`.

    They mean what llama-server's `--cpu-moe` and `--n-cpu-moe` mean.
    """
    if cpu_moe:
        return [(EXPERTS, "CPU")]
    return [(rf"blk\.{layer}{EXPERTS}", "CPU") for layer in range(n_cpu_moe)]
