"""`pannier convert`: a checkpoint to GGUF, quantised on the way."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from ..expert_words import FORMS

if TYPE_CHECKING:
    from ..engine.progress import Report
    from .converter import OnProgress
    from .table import ConvertProgress


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `pannier convert`."""
    add = parser.add_argument
    add(
        "src",
        metavar="SRC",
        help="checkpoint folder, or a model of the Hugging Face hub: org/name[@revision]",
    )
    add(
        "-o",
        "--out",
        type=Path,
        metavar="FILE",
        help="GGUF file, or folder for it; default: the current folder, named after SRC",
    )
    _add_types(parser.add_argument_group("types"))
    _add_placement(parser.add_argument_group("placement"))
    _add_rest(parser)


def _add_types(group: Any) -> None:
    add = group.add_argument
    add(
        "--quant",
        metavar="RECIPE",
        default="auto",
        help="a recipe of llama-quantize: Q4_K_M, Q8_0, IQ3_XS, MXFP4_MOE, BF16 ...; auto is BF16 "
        "for BF16 checkpoints, else F16 (default: %(default)s)",
    )
    add("--target-size", metavar="SIZE", help="the best recipe whose file fits, such as 20G")
    add(
        "--tensor-type",
        action="append",
        default=[],
        metavar="PATTERN=TYPE",
        dest="tensor_types",
        help="type of the tensors whose names match a regular expression, before the recipe; "
        "may be repeated, the first match counts",
    )
    add("--experts-quant", metavar="TYPE", help="type of the routed experts")
    add("--output-quant", metavar="TYPE", help="type of the output matrix")
    add(
        "--imatrix", type=Path, metavar="FILE", help="importance matrix, as llama-imatrix writes it"
    )
    add(
        "--exact-recipe",
        action="store_true",
        help="quantise all that llama.cpp's recipe does; else gates and decays of recurrent layers "
        "stay as they are",
    )
    add(
        "--requantize",
        action="store_true",
        help="let the recipe have what is NVFP4 or MXFP4 in the checkpoint; else it stays so",
    )


def _add_placement(group: Any) -> None:
    add = group.add_argument
    add(
        "--experts",
        metavar="WHERE",
        default="auto",
        help=f"where the routed experts belong, written into the file: {FORMS}; auto: on the GPU "
        "if the model fits there when it is loaded (default: %(default)s)",
    )
    add("--split-experts", action="store_true", help="write the experts to a shard of their own")


def _add_rest(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--mtp",
        choices=("keep", "drop", "only", "split"),
        default="keep",
        help="blocks for multi-token prediction; split writes them to a second file, ...-mtp.gguf "
        "(default: %(default)s)",
    )
    add("--name", help="the model's name in the file")
    add(
        "--pre",
        metavar="NAME",
        help="llama.cpp's name of the pre-tokenizer, where it cannot be found out",
    )
    add(
        "--trust-remote-code",
        action="store_true",
        help="run Python code that the checkpoint brings along for its tokenizer",
    )
    add(
        "--source",
        type=Path,
        metavar="DIR|TARBALL",
        help="llama.cpp source to take the conversion from; default: the pinned one",
    )
    add(
        "--dry-run",
        action="store_true",
        help="show every tensor, sizes by role, type and device, and the memory it takes to "
        "convert; write nothing",
    )
    add("-v", "--verbose", action="store_true", help="show the conversion's own messages")


_OPTIONS = (
    *("quant", "target_size", "tensor_types", "experts_quant", "output_quant", "imatrix"),
    *("exact_recipe", "requantize", "experts", "split_experts", "name", "pre"),
    *("trust_remote_code", "source", "verbose"),
)


def execute(args: argparse.Namespace) -> int:
    """Convert, or with --dry-run show the plan. Prints the paths on stdout, one per line."""
    from . import converter
    from .describe import describe

    signal.signal(signal.SIGTERM, _interrupt)
    options = {name: getattr(args, name) for name in _OPTIONS}
    split = args.mtp == "split"
    request = converter.make_request(
        args.src, args.out, mtp="drop" if split else args.mtp, dry_run=args.dry_run, **options
    )
    for part in (request, *([converter.mtp_request(request)] if split else [])):
        if args.dry_run:
            sys.stdout.write(describe(converter.run(part)))
        else:
            _convert(args.src, part)
    return 0


def _convert(src: str, request: Any) -> None:
    from ..engine.progress import progress
    from . import converter

    with progress(f"converting {Path(src).name or src}", "bytes") as report:
        plan = converter.run(request, _show(report))
    sys.stdout.write("".join(f"{file}\n" for file in plan.files))


def _interrupt(signum: int, frame: FrameType | None) -> None:
    """SIGTERM ends a conversion as Ctrl-C does: nothing half-written stays."""
    raise KeyboardInterrupt


def _show(report: Report) -> OnProgress:
    """Show a conversion's progress with the common bar or lines."""

    def on_progress(progress: ConvertProgress) -> None:
        count = f"{progress.n_tensors}/{progress.plan.n_tensors} tensors"
        report(progress.n_bytes, progress.plan.n_bytes, count)

    return on_progress
