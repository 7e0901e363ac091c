"""`pannier plan`: what a model would take, and the best configuration that fits."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from ..server.flags import add_plannable, fixed_fields, read_plannable

if TYPE_CHECKING:
    from .child import Question


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags: those of `pannier serve` that have to do with memory."""
    parser.allow_abbrev = False
    add_plannable(parser, "plan for")
    parser.add_argument("--json", action="store_true", help="print JSON, sizes in bytes")


def execute(args: argparse.Namespace) -> int:
    """Print the plan."""
    from .child import ask

    plan = ask(read_question(args))
    if args.json:
        sys.stdout.write(json.dumps(plan.as_dict(), indent=2, allow_nan=False) + "\n")
        return 0
    from rich.console import Console

    from .table import as_table

    console = Console(soft_wrap=True, highlight=False)
    console.print(as_table(plan))
    return 0


def read_question(args: argparse.Namespace) -> Question:
    """What the arguments ask; the engine is built if it is not there."""
    from ..server.named_model import find_model, find_or_build
    from .child import Question

    engine = find_or_build(args.backend)
    config = read_plannable(args, str(find_model(args)), str(engine.directory))
    return Question(config, fixed_fields(args), args.vram, args.prefer)
