"""`pannier build`: the engine for this machine. Prints its folder on stdout."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from .options import BACKENDS, SANITIZERS, BuildOptions


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `pannier build`."""
    add = parser.add_argument
    add(
        "--backend",
        choices=("auto", *BACKENDS),
        default="auto",
        help="what to compute on; auto takes the best that this machine can build "
        "(default: %(default)s)",
    )
    add("--rpc", action="store_true", help="also build the RPC backend and ggml-rpc-server")
    add(
        "--tools",
        action="store_true",
        help="also build llama.cpp's own programs: llama-server, llama-quantize, llama-bench ...",
    )
    add(
        "--source",
        type=Path,
        metavar="PATH",
        help="a llama.cpp tree or tar archive instead of fetching the pinned one "
        "(default: PANNIER_SOURCE)",
    )
    add("--unpatched", action="store_true", help="leave the patch series out")
    add(
        "--sanitize",
        type=_names,
        default=(),
        metavar="LIST",
        help=f"check our own native files at run time: {','.join(SANITIZERS)}",
    )
    add(
        "--cuda-architectures",
        type=_names,
        default=(),
        metavar="LIST",
        help="as in CMAKE_CUDA_ARCHITECTURES, such as 86,90 (default: those of the cards found)",
    )
    add(
        "-D",
        dest="definitions",
        action="append",
        type=_definition,
        default=[],
        metavar="NAME=VALUE",
        help="one more CMake definition; may be repeated",
    )
    add("-j", "--jobs", type=int, metavar="N", help="compile jobs at once (default: processors)")
    add("-v", "--verbose", action="store_true", help="show the compiler's output")


def execute(args: argparse.Namespace) -> int:
    """Find or build the engine."""
    from .find import ensure_engine

    engine = ensure_engine(_settle(options_from(args)), verbose=args.verbose)
    sys.stdout.write(f"{engine.directory}\n")
    return 0


def options_from(args: argparse.Namespace) -> BuildOptions:
    """The parsed options as one value."""
    return BuildOptions(
        backend=args.backend,
        rpc=args.rpc,
        unpatched=args.unpatched,
        sanitize=tuple(sorted(args.sanitize)),
        tools=args.tools,
        cuda_architectures=args.cuda_architectures,
        source=args.source.expanduser().absolute() if args.source else None,
        definitions=tuple(args.definitions),
        jobs=args.jobs,
    )


def _settle(options: BuildOptions) -> BuildOptions:
    """Choose the backend where it is left open, and say why."""
    from .backends import choose_backend
    from .progress import say

    if options.backend != "auto":
        return options
    choice = choose_backend()
    for reason in choice.reasons:
        say(reason)
    return replace(options, backend=choice.backend)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.replace(";", ",").split(",") if name.strip())


def _definition(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value
