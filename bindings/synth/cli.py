"""`pannier synth`: a model file of real shapes and random weights."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from . import NAMES

if TYPE_CHECKING:
    from .weights import Synthesis


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `pannier synth`."""
    add = parser.add_argument
    add("name", metavar="NAME", choices=NAMES, help=f"the model: {', '.join(NAMES)}")
    add("-o", "--out", type=Path, required=True, metavar="FILE", help="GGUF file to write")
    add("--layers", type=int, metavar="N", help="keep N layers, each kind of them at least once")
    add(
        "--type",
        metavar="RECIPE",
        help="a recipe of llama-quantize; default: that of the published files, Q4_K_M or, for "
        "gpt-oss, MXFP4_MOE",
    )
    add(
        "--skew",
        type=float,
        default=0.2,
        metavar="S",
        help="the expert of rank r in its layer is used in proportion to r^-S; 0 is evenly "
        "(default: %(default)s)",
    )
    add(
        "--locality",
        type=float,
        default=0.25,
        metavar="L",
        help="share of a token's experts that the token before it used too, in text that the model "
        "writes at temperature 1 (default: %(default)s)",
    )
    add("--seed", type=int, default=1, metavar="N", help="of the weights (default: %(default)s)")
    add(
        "--header-only",
        action="store_true",
        help="no weights: a file as long as with them that takes a few megabytes of disk, for "
        "`pannier plan` and `pannier inspect`",
    )
    add("--force", action="store_true", help="write over a file that is there")


def execute(args: argparse.Namespace) -> int:
    """Write the file; print its path on stdout. Nothing half-written stays."""
    from ..engine.progress import say
    from ..errors import ArgumentError
    from .file import write_header_only
    from .routing import Routing
    from .weights import make_synthesis

    check_target(args.out, force=args.force)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    made = make_synthesis(
        args.name,
        n_layer=args.layers,
        type=args.type,
        routing=Routing(args.skew, args.locality),
        seed=args.seed,
    )
    n_weights = made.spec.n_weights / 1e9
    say(f"{made.spec.name}: {n_weights:.2f} billion weights, {made.n_weight_bytes / 1e9:.2f} GB")
    try:
        if args.header_only:
            write_header_only(args.out, made)
        else:
            _write(args.out, made)
    except OSError as error:
        raise ArgumentError(f"{args.out} cannot be written: {error.strerror}") from error
    sys.stdout.write(f"{args.out}\n")
    return 0


def check_target(path: Path, *, force: bool) -> None:
    """Raise ArgumentError for a file that is there, without `force`, and for a missing folder."""
    from ..errors import ArgumentError

    if path.is_dir():
        raise ArgumentError(f"{path} is a folder; name a file in it")
    if path.exists() and not force:
        raise ArgumentError(f"{path} is there; --force writes over it")
    if not path.absolute().parent.is_dir():
        raise ArgumentError(f"no folder {path.parent} for {path.name}; make it first")


def _write(path: Path, made: Synthesis) -> None:
    from ..engine.progress import progress, say
    from .file import write_model

    began = time.monotonic()
    with progress(f"writing {path.name}", "bytes") as report:
        write_model(path, made, report)
    took = time.monotonic() - began
    say(f"{took:.0f} s, {path.stat().st_size / took / 1e6:.0f} MB/s")
