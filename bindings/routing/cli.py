"""`pannier trace`: record which experts a model's routers choose, and show what that means."""

from __future__ import annotations

import argparse
import importlib

VERBS = {
    "record": (
        "pannier.routing.cli_record",
        "record what the routers choose; `pannier trace MODEL` is the same",
    ),
    "show": (
        "pannier.routing.cli_show",
        "show skew, repetition, hits of caches, and whether one pays here",
    ),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add both verbs; `record` need not be named."""
    parser.set_defaults(verbs=tuple(VERBS))
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for name, (module, words) in VERBS.items():
        verb = importlib.import_module(module)
        sub = verbs.add_parser(name, help=words, description=words[0].upper() + words[1:])
        verb.configure(sub)
        sub.set_defaults(verb=verb.execute)


def execute(args: argparse.Namespace) -> int:
    """Run one verb."""
    status: int = args.verb(args)
    return status
