"""`pannier place`: where a model file's experts belong."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..expert_words import FORMS


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `pannier place`."""
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="GGUF file, or the first one of a split set"
    )
    parser.add_argument(
        "--experts",
        metavar="WHERE",
        required=True,
        help=f"where the routed experts belong: {FORMS}; auto: on the GPU if the model fits there "
        "when it is loaded",
    )


def execute(args: argparse.Namespace) -> int:
    """Write the placement. Prints the file's path on stdout, on stderr whether it was copied."""
    from ..engine.progress import say
    from .place import place

    in_place = place(args.file, args.experts)
    say("written in place" if in_place else "copied, with room for the next placement")
    sys.stdout.write(f"{args.file}\n")
    return 0
