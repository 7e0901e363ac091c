"""`pannier plan`: what a model would take, and the best configuration that fits."""

from __future__ import annotations

import argparse
import json
import sys

from ..server.flags.parser import add_flags, read_given
from ..server.flags.table import PLAN_GROUPS


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags: those of `pannier serve` that have to do with memory."""
    parser.allow_abbrev = False
    parser.usage = "%(prog)s [MODEL] [FLAG ...]"
    parser.add_argument("model", nargs="?", metavar="MODEL", help="the GGUF file to plan for")
    parser.add_argument("--json", action="store_true", help="print JSON, sizes in bytes")
    parser.add_argument(
        "--show-tensors",
        action="store_true",
        help="list what each row of -ot, --experts and the like matches, and where it goes",
    )
    add_flags(parser, PLAN_GROUPS)


def execute(args: argparse.Namespace) -> int:
    """Print the plan. The engine is built if it is not there."""
    from ..server.flags.settings import engine_config
    from ..server.named_model import find_model, find_or_build
    from .child import ask, question_of

    given = read_given(args, PLAN_GROUPS)
    model = str(find_model(args.model, given))
    engine = find_or_build(given.get("start.backend"))
    config = engine_config(given, model, str(engine.directory))
    plan = ask(question_of(config, given, args.show_tensors))
    if args.json:
        sys.stdout.write(json.dumps(plan.as_dict(), indent=2, allow_nan=False) + "\n")
        return 0
    from rich.console import Console

    from .table import as_table

    Console(soft_wrap=True, highlight=False).print(as_table(plan))
    return 0
