"""Which layers each of several devices has: runs of them, by their bytes.

llama.cpp deals layers out in proportion to free memory, as if all were of one size: with the
experts of the first layers in system memory the last device gets all that is large (issue 15136).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

from .modelfile import ModelFile
from .override_rows import OverrideRow, matching
from .placement import INPUT, is_tied

_BLOCK = re.compile(r"blk\.(\d+)\.")


def balanced_split(
    file: ModelFile,
    rows: Sequence[OverrideRow],
    n_gpu_layers: int,
    capacities: Mapping[str, int],
    context_bytes: Sequence[float] = (),
) -> tuple[float, ...]:
    """Shares for llama.cpp's tensor split, which are numbers of layers, the output being one.

    capacities: bytes that each device has room for, in the engine's order.
    context_bytes: what a context will keep for each layer.
    """
    loads, named = layer_loads(file, rows)
    for i, extra in enumerate(context_bytes):
        loads[i] += extra
    n = len(loads) if n_gpu_layers < 0 else min(n_gpu_layers, len(loads))
    room = [float(size - named.get(device, 0)) for device, size in capacities.items()]
    return tuple(map(float, split_layers(loads[len(loads) - n :], room))) if n else ()


def layer_loads(
    file: ModelFile, rows: Sequence[OverrideRow]
) -> tuple[list[float], Mapping[str, int]]:
    """Bytes of each layer's weights that go with it, the output last; and of those that rows put
    on a device by its name."""
    sizes = {tensor.name: tensor.n_bytes for tensor in file.tensors}
    homes = _homes(rows, tuple(sizes))
    loads = [0.0] * (_n_layers(file) + 1)
    named: dict[str, int] = {}
    for name, n_bytes in sizes.items():
        buffer = homes.get(name)
        if buffer is not None:
            named[buffer] = named.get(buffer, 0) + n_bytes
        elif match := _BLOCK.match(name):
            loads[min(int(match[1]), len(loads) - 1)] += n_bytes
        elif not re.search(INPUT, name):
            loads[-1] += n_bytes
    causal = bool(file.metadata.get(f"{file.architecture}.attention.causal", True))
    if is_tied(sizes, causal) and "token_embd.weight" not in homes:
        loads[-1] += sizes["token_embd.weight"]
    return loads, named


def _homes(rows: Iterable[OverrideRow], names: Sequence[str]) -> dict[str, str | None]:
    """Names to buffers, of tensors for which there is a row."""
    homes: dict[str, str | None] = {}
    for row in rows:
        for name in matching(row.pattern, names):
            homes.setdefault(name, row.buffer)
    return homes


def _n_layers(file: ModelFile) -> int:
    value = file.metadata.get(f"{file.architecture}.block_count", 0)
    return value if isinstance(value, int) else 0


def split_layers(loads: Sequence[float], capacities: Sequence[float]) -> tuple[int, ...]:
    """Lengths of the runs of layers that fill devices in their order as evenly as can be: the
    largest load in proportion to its capacity is smallest."""
    if len(capacities) == 1:
        return (len(loads),)
    shares = [max(1.0, capacity) for capacity in capacities]
    low, high = 0.0, sum(loads) / min(shares) + 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if sum(_runs(loads, [middle * share for share in shares])) == len(loads):
            high = middle
        else:
            low = middle
    return _runs(loads, [high * share for share in shares])


def _runs(loads: Sequence[float], limits: Sequence[float]) -> tuple[int, ...]:
    """As many layers as each device takes, in order; not all of them if they do not fit."""
    runs, begin = [], 0
    for limit in limits:
        n = sum(total <= limit for total in accumulate(loads[begin:]))
        runs.append(n)
        begin += n
    return tuple(runs)
