"""`pannier patch`: list, check, unpack and export the patch series."""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verbs of `pannier patch`."""
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    listing = verbs.add_parser("list", help="show the patches in order, each with its header")
    listing.set_defaults(verb=show)
    checking = verbs.add_parser(
        "check", help="fail on drift, missing headers, unlisted files and patches that do not apply"
    )
    checking.set_defaults(verb=check)
    unpacking = verbs.add_parser(
        "unpack", help="make a git repository of the source with one commit per patch"
    )
    unpacking.add_argument("directory", type=Path, metavar="DIR", help="new folder")
    unpacking.set_defaults(verb=unpack)
    exporting = verbs.add_parser("export", help="write the commits of such a repository back")
    exporting.add_argument("directory", type=Path, metavar="DIR", help="the repository")
    exporting.add_argument(
        "--to", type=Path, metavar="DIR", help="where to write (default: this project's patches)"
    )
    exporting.set_defaults(verb=export)
    for verb in (checking, unpacking):
        verb.add_argument(
            "--source",
            type=Path,
            metavar="PATH",
            help="a llama.cpp tree or archive instead of the pinned one",
        )


def execute(args: argparse.Namespace) -> int:
    """Run one verb."""
    status: int = args.verb(args)
    return status


def show(args: argparse.Namespace) -> int:
    """Print each patch's name, files and header fields."""
    from .series import read_series

    for patch in read_series():
        sys.stdout.write(f"{patch.slug}: {', '.join(patch.touched)}\n")
        for name, text in patch.fields.items():
            lead = f"  {name + ':':<10}"
            wrapped = textwrap.fill(text, 96, initial_indent=lead, subsequent_indent=" " * 12)
            sys.stdout.write(f"{wrapped}\n")
    return 0


def check(args: argparse.Namespace) -> int:
    """Print what is wrong with the series; status 1 when anything is."""
    from .patch_repo import check_series
    from .source import source_tree

    problems = check_series(source_tree(args.source))
    for problem in problems:
        sys.stdout.write(f"{problem}\n")
    return 1 if problems else 0


def unpack(args: argparse.Namespace) -> int:
    """Make the repository and say how to go on."""
    from .patch_repo import unpack_series
    from .progress import say
    from .source import source_tree

    unpack_series(source_tree(args.source), args.directory)
    say(f"edit and commit there, then: pannier patch export {args.directory}")
    sys.stdout.write(f"{args.directory}\n")
    return 0


def export(args: argparse.Namespace) -> int:
    """Write the series and name the files that changed."""
    from .patch_repo import export_series
    from .series import series_directory

    destination = args.to or series_directory()
    for name in export_series(args.directory, destination):
        sys.stdout.write(f"{destination / name}\n")
    return 0
