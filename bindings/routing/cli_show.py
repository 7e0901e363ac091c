"""`pannier trace show`: a trace in figures."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ..errors import ArgumentError
from ..part import whole

SHARES = (0.05, 0.1, 0.25, 0.5)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.allow_abbrev = False
    add = parser.add_argument
    add("trace", metavar="TRACE", help="what `pannier trace` wrote")
    add(
        "--cache",
        type=percentages,
        default=SHARES,
        metavar="N,N,...",
        help="caches to reckon with, in percent of the experts (default: 5,10,25,50)",
    )
    add("--svg", type=Path, metavar="FILE", help="write a chart of the hit rates")
    add("--json", action="store_true", help="print JSON: bytes, bytes/s, seconds, shares of 1")


def execute(args: argparse.Namespace) -> int:
    """Print the figures, with this machine's rates as far as they were measured."""
    from ..planner.machine import measured
    from ..planner.speed import Bandwidths
    from .report import TraceReport
    from .trace_file import read_trace

    report = TraceReport(read_trace(args.trace), args.cache, measured() or Bandwidths())
    if args.svg is not None:
        write_svg(args.svg, report.chart().svg())
    if args.json:
        sys.stdout.write(json.dumps(report.as_dict(), indent=1, allow_nan=False) + "\n")
        return 0
    from rich.console import Console

    Console(soft_wrap=True, highlight=False).print(report.tables())
    return 0


def percentages(text: str) -> tuple[float, ...]:
    """Shares of 1, rising, from percentages between commas."""
    try:
        found = sorted({float(part) / 100 for part in text.split(",")})
    except ValueError:
        found = []
    if not found or not all(0 < share <= 1 for share in found):
        raise argparse.ArgumentTypeError(f"{text!r} has to be percentages above 0, as in 5,10,25")
    return tuple(found)


def write_svg(path: Path, content: str) -> None:
    """Whole or not at all. Raises ArgumentError where it cannot be written."""
    try:
        with whole(path) as part:
            part.write_text(content, "utf-8")
    except OSError as error:
        raise ArgumentError(f"cannot write --svg {path}: {error.strerror}") from error
