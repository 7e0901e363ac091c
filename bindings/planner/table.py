"""A plan for people."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..memory import KINDS
from ..modelfile.cli import size_text
from ..tensor_listing import WITHOUT_ROW, ListedRow
from .choices import Choice
from .plan import Plan


def as_table(plan: Plan) -> RenderableType:
    """Tensors if they are asked for; devices, a client, what was given up, cheaper choices, and
    the command."""
    parts: list[RenderableType] = [*_tensors(plan), _devices(plan), _client(plan)]
    if plan.config.host_memory:
        parts.append(Text(f"Weights in system memory: {plan.cost.host_memory}"))
    if plan.given_up:
        parts.append(_list("Given up:", plan.given_up))
    if plan.notes:
        parts.append(_list("Rows that disagree:", plan.notes))
    if plan.misplaced:
        parts.append(_list("Misplaced, so it starts with --no-strict only:", plan.misplaced))
    if plan.choices:
        parts.append(_choices(plan.choices))
    if plan.paging:
        parts.append(Text(f"Larger than memory: {plan.paging}"))
    parts.append(_speed(plan))
    parts.append(Text("pannier serve " + shlex.join(plan.arguments), style="bold"))
    return Group(*parts)


def _tensors(plan: Plan) -> list[RenderableType]:
    """What each row takes, then the sums by buffer."""
    if plan.tensors is None:
        return []
    rows = _table("tensors", "number", "bytes", "buffer")
    for row in plan.tensors.rows:
        rows.add_row(_row_text(plan, row), str(row.n_tensors), f"{row.bytes:,}", "")
        for group in row.groups:
            where = group.buffer_type
            rows.add_row(f"  {group.name}", str(group.n_tensors), f"{group.bytes:,}", where)
    sums = _table("weights by buffer", "of tensors", "padding, gaps", "in all", "device")
    for one in plan.tensors.buffers:
        sizes = (one.tensor_bytes, one.padding_bytes, one.bytes)
        sums.add_row(one.buffer_type, *(f"{size:,}" for size in sizes), one.device)
    return [rows, sums, Text()]


def _row_text(plan: Plan, row: ListedRow) -> str:
    if row.source == WITHOUT_ROW:
        return "with their layer, or as llama.cpp does"
    source = row.source
    if source.startswith("--experts") and "experts" not in plan.wish.fixed:
        source += ", the plan's"
    lost = row.n_matching - row.n_tensors
    return f"{source}, {row.pattern}" + (f"; {lost} more go by rows before it" if lost > 0 else "")


def _devices(plan: Plan) -> Table:
    """A column for each device, a row for each kind."""
    devices = [plan.device_row(device) for device in plan.devices]
    table = _table("", *(row["device"] for row in devices))
    names = {kind: kind.replace("_", " ") for kind in KINDS}
    names |= {"total": "in all", "headroom": "driver's share", "limit": "may take", "left": "left"}
    for name, words in names.items():
        cells = [row[f"{name}_bytes"] for row in devices]
        if any(cells):
            table.add_row(words, *map(_bytes, cells))
    return table


def _client(plan: Plan) -> Text:
    client = plan.per_client()
    parts = [f"{client['n_cells']} cells {size_text(client['cells_bytes'])}"]
    names = {"window": "sliding window", "state": "recurrent state", "rollback": "rollback"}
    parts += [
        f"{word} {size_text(client[f'{name}_bytes'])}"
        for name, word in names.items()
        if client[f"{name}_bytes"]
    ]
    total = client["total_bytes"]
    text = f"Each additional client: {', '.join(parts)}"
    return Text(text + (f"; {size_text(total)} in all" if total is not None else ""))


def _speed(plan: Plan) -> Text:
    names = ", ".join(name.removesuffix("_s").replace("_", " ") for name in plan.assumed)
    rates = f"assumed ({names}): `pannier bench machine` measures them" if names else "measured"
    hits = f"; hits of the cache by {plan.trace}" if plan.trace else "; hits of the cache assumed"
    rate = 1 / plan.seconds
    text = f"{rate:.0f}" if rate >= 10 else f"{rate:.2g}"
    return Text(
        f"about {text} tokens/s for one client, by bandwidth alone; rates {rates}"
        + (hits if plan.config.moe_cache_mib else "")
    )


def _choices(choices: Sequence[Choice]) -> Table:
    table = _table("cheaper", "saves", "speed")
    for choice in choices:
        saved = [f"{size_text(n)} on {device}" for device, n in choice.saved_bytes.items() if n > 0]
        table.add_row(_short(" ".join(choice.flags)), ", ".join(saved), f"{choice.speed:.0%}")
    return table


def _list(head: str, lines: Sequence[str]) -> Text:
    return Text("\n".join([head, *(f"  {line}" for line in lines)]))


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left")
    return table


def _bytes(n_bytes: int | None) -> str:
    return "" if n_bytes is None else size_text(n_bytes) if n_bytes else "-"


def _short(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."
