"""`pannier bench`: what a model takes and does on this machine."""

from __future__ import annotations

import argparse
import importlib

BENCHES = {
    "machine": ("pannier.bench.cli_machine", "measure how fast this machine's memories are read"),
    "vram": ("pannier.bench.cli_vram", "measure what each additional client takes, beside plans"),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the benches."""
    benches = parser.add_subparsers(title="benches", metavar="BENCH", required=True)
    for name, (module, summary) in BENCHES.items():
        bench = importlib.import_module(module)
        sub = benches.add_parser(name, help=summary, description=summary[0].upper() + summary[1:])
        bench.configure(sub)
        sub.set_defaults(bench=bench.execute)


def execute(args: argparse.Namespace) -> int:
    """Run one bench."""
    status: int = args.bench(args)
    return status
