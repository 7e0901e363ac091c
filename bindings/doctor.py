"""`pannier doctor`: where the ops of a model's graphs would run, and whether that is as asked."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator

from .modelfile.cli import size_text
from .op_placement import Copies, GraphPlacement, PlacementReport
from .server.config import EngineConfig
from .server.flags.parser import add_flags, add_sources, read_given
from .server.flags.table import GROUPS, PLAN_GROUPS

PASSES = {
    "decode": "a token of each of {n_seqs} clients",
    "prompt": "a prompt of {n_tokens} tokens",
    "prompts": "the graph that buffers are made for, {n_tokens} tokens of {n_seqs} sequences",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags: those of `pannier serve`, all of them taken, those about memory shown."""
    parser.allow_abbrev = False
    parser.usage = "%(prog)s [MODEL] [FLAG ...]"
    parser.add_argument("model", nargs="?", metavar="MODEL", help="the GGUF file to look at")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_flags(parser, PLAN_GROUPS)
    add_flags(
        parser, {name: GROUPS[name] for name in GROUPS if name not in PLAN_GROUPS}, hidden=True
    )
    add_sources(parser, GROUPS)


def execute(args: argparse.Namespace) -> int:
    """Print the report; 1 where something would not be as asked for."""
    from . import _ffi
    from .server.cli import planned
    from .server.flags.settings import engine_config
    from .server.loading import planned_placement
    from .server.named_model import find_model, find_or_build

    given = read_given(args, GROUPS)
    model = str(find_model(args.model, given))
    engine = find_or_build(given.get("start.backend"))
    config = engine_config(given, model, str(engine.directory))
    if given.get("start.vram"):
        config = planned(config, given)
    _ffi.load(engine.library)
    report = planned_placement(config)
    if args.json:
        text = json.dumps(as_dict(report, config), indent=2, allow_nan=False)
    else:
        text = "\n".join(lines(report, config))
    sys.stdout.write(text + "\n")
    return 1 if report.problems else 0


def as_dict(report: PlacementReport, config: EngineConfig) -> dict[str, object]:
    """The report, JSON-ready."""
    return {"model": config.model, **report.as_dict(), "notes": list(notes(report, config))}


def lines(report: PlacementReport, config: EngineConfig) -> Iterator[str]:
    """The report for people."""
    for graph in report.graphs:
        yield from _graph(graph)
    types = ", ".join(f"{part.upper()} {type}" for part, type in report.cache_types.items())
    yield f"flash attention: {'on' if report.flash_attn else 'off'}" + (
        f"; KV cache: {types}" if types else ""
    )
    yield from (f"note: {note}" for note in notes(report, config))
    for problem in report.problems:
        yield f"misplaced: {problem.what}"
        yield f"    why: {problem.reason}"
        yield f"    what to do: {problem.remedy}"
    if not report.problems:
        yield "Every op is where it was placed."


def _graph(graph: GraphPlacement) -> Iterator[str]:
    title = PASSES[graph.name].format(n_seqs=graph.n_seqs, n_tokens=graph.n_tokens)
    n_copies = sum(copies.n for copies in graph.copies)
    yield f"{title}: {_number(graph.n_splits, 'split')}, {_number(n_copies, 'copy', 'copies')}"
    yield from map(_copies, graph.copies)
    for device, ops in graph.ops.items():
        most_first = sorted(ops.items(), key=lambda row: (-row[1], row[0]))
        counts = ", ".join(f"{n} {op}" for op, n in most_first)
        yield f"    {_number(sum(ops.values()), 'op')} on {device}: {counts}"


def _copies(copies: Copies) -> str:
    parts = {"weights": copies.weight_bytes, "KV cache and states": copies.cache_bytes}
    of_it = ", ".join(f"{size_text(n)} {name}" for name, n in parts.items() if n)
    way = f"{copies.n} from {copies.source} to {copies.target}"
    return f"    {way}: {size_text(copies.bytes)}" + (f" ({of_it})" if of_it else "")


def _number(n: int, one: str, many: str = "") -> str:
    return f"{n} {one if n == 1 else many or one + 's'}"


def notes(report: PlacementReport, config: EngineConfig) -> Iterator[str]:
    """What is as asked for, but slower than one may think."""
    decode = next((graph for graph in report.graphs if graph.name == "decode"), None)
    if decode and config.moe_cache_mib:
        n = decode.ops.get("CPU", {}).get("MUL_MAT_ID", 0)
        if n:
            yield (
                f"{_number(n, 'product')} with experts run on the CPU when {decode.n_seqs} clients "
                f"decode: a cache of {config.moe_cache_mib} MiB has no room for what they use at "
                "once, or is not for these layers"
            )
    cached = sum(copies.cache_bytes for copies in decode.copies) if decode else 0
    if cached:
        yield (
            f"{size_text(cached)} of KV cache and states go from device to device for each token; "
            "with the cache in system memory, -fa off computes attention there"
        )
    if config.adapters:
        yield "adapters are not looked at: a strict server checks them at its start"
