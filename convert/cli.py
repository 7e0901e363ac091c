"""`pannier convert`: a local checkpoint folder to GGUF."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..engine.progress import Report
    from .converter import ConvertProgress, OnProgress, Plan

TYPES = ("f32", "f16", "bf16", "q8_0", "auto")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `pannier convert`."""
    parser.add_argument("src", type=Path, metavar="SRC", help="checkpoint folder")
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="FILE",
        help="GGUF file, or folder for it; default: the current folder, named after SRC",
    )
    parser.add_argument(
        "--type",
        choices=TYPES,
        default="auto",
        help="type of the weight matrices; auto is bf16 for bf16 checkpoints, else f16 "
        "(default: %(default)s)",
    )
    parser.add_argument("--name", help="the model's name in the file")
    parser.add_argument(
        "--pre",
        metavar="NAME",
        help="llama.cpp's name of the pre-tokenizer, where it cannot be found out",
    )
    parser.add_argument(
        "--source",
        type=Path,
        metavar="DIR|TARBALL",
        help="llama.cpp source to take the conversion from; default: the pinned one",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="show what would be written, write nothing"
    )
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="show the conversion's own messages"
    )


def execute(args: argparse.Namespace) -> int:
    """Convert, or with --dry-run show the plan. Prints the file's path on stdout."""
    from ..engine.progress import progress
    from . import converter

    signal.signal(signal.SIGTERM, _interrupt)
    request = converter.make_request(
        args.src,
        args.out,
        type=args.type,
        name=args.name,
        pre=args.pre,
        source=args.source,
        verbose=args.verbose,
        dry_run=args.dry_run,
    )
    with progress(f"converting {args.src.name or args.src}", "bytes") as report:
        plan = converter.run(request, None if args.dry_run else _show(report))
    if args.dry_run:
        sys.stdout.write(describe(plan))
    else:
        sys.stdout.write(f"{plan.out}\n")
    return 0


def _interrupt(signum: int, frame: FrameType | None) -> None:
    """SIGTERM ends a conversion as Ctrl-C does: nothing half-written stays."""
    raise KeyboardInterrupt


def _show(report: Report) -> OnProgress:
    """Show a conversion's progress with the common bar or lines."""

    def on_progress(progress: ConvertProgress) -> None:
        count = f"{progress.n_tensors}/{progress.plan.n_tensors} tensors"
        report(progress.n_bytes, progress.plan.n_bytes, count)

    return on_progress


def describe(plan: Plan) -> str:
    """The plan in lines for a person."""
    from rich.filesize import decimal

    types = ", ".join(f"{count} {name}" for name, count in sorted(plan.types.items()))
    rows = {
        "file": plan.out,
        "architecture": plan.architecture,
        "type": plan.type,
        "tensors": f"{plan.n_tensors} ({types})",
        "size": decimal(plan.n_bytes),
        "pre-tokenizer": plan.pre or "none",
    }
    return "".join(f"{key:<14}{value}\n" for key, value in rows.items())
