"""`pannier engines`: list, verify and remove built engines."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from ..errors import EngineNotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .store import Engine


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verbs of `pannier engines`; without one it lists."""
    parser.set_defaults(verb=show)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB")
    listing = verbs.add_parser("list", help="show the built engines (the default)")
    listing.set_defaults(verb=show)
    verify = verbs.add_parser("verify", help="compare the files of the engines with their records")
    verify.add_argument("names", nargs="*", metavar="NAME", help="engines (default: all)")
    verify.set_defaults(verb=check)
    removal = verbs.add_parser("remove", help="delete engines")
    removal.add_argument("names", nargs="*", metavar="NAME", help="engines, or the start of a key")
    removal.add_argument("--stale", action="store_true", help="those older than their sources")
    removal.add_argument(
        "--all", action="store_true", help="every engine, and what is kept to build the next faster"
    )
    removal.set_defaults(verb=delete)


def execute(args: argparse.Namespace) -> int:
    """Run one verb."""
    status: int = args.verb(args)
    return status


def show(args: argparse.Namespace) -> int:
    """One line per engine: name, backends, extras, size, date, whether it is current."""
    from .store import stored_engines

    engines = stored_engines()
    rows: list[tuple[str, ...]] = [("NAME", "BACKENDS", "EXTRAS", "SIZE", "BUILT (UTC)", "STATE")]
    rows += [_row(engine) for engine in engines]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("  ".join(cells).rstrip() + "\n")
    return 0


def check(args: argparse.Namespace) -> int:
    """Compare sizes and hashes; status 1 when a file is gone or changed."""
    from .manifest import damaged_files
    from .store import stored_engines

    status = 0
    for engine in _selected(stored_engines(), args.names) if args.names else stored_engines():
        damage = damaged_files(engine.manifest, engine.directory)
        status = 1 if damage else status
        verdict = "; ".join(damage) or f"ok, {len(engine.manifest.files)} files"
        sys.stdout.write(f"{engine.name}: {verdict}\n")
    return status


def delete(args: argparse.Namespace) -> int:
    """Delete the engines named, the stale ones, or all."""
    from .find import is_current
    from .store import remove, remove_work, stored_engines

    engines = stored_engines()
    if not (args.names or args.stale or args.all):
        raise EngineNotFound("name the engines to remove, or say --stale or --all")
    chosen = engines if args.all else _selected(engines, args.names)
    if args.stale and not args.all:
        chosen += [engine for engine in engines if engine not in chosen and not is_current(engine)]
    if args.all:
        remove_work()
    for engine in chosen:
        remove(engine)
        sys.stdout.write(f"{engine.name}: removed\n")
    return 0


def _selected(engines: Sequence[Engine], names: Sequence[str]) -> list[Engine]:
    """The engines whose name or key starts with one of `names`. Raises EngineNotFound."""
    found = []
    for name in names:
        fitting = [
            engine
            for engine in engines
            if engine.name == name or engine.manifest.key.startswith(name)
        ]
        if len(fitting) != 1:
            known = ", ".join(engine.name for engine in engines) or "none"
            raise EngineNotFound(f"{len(fitting)} engines fit {name!r}; there are: {known}")
        found += fitting
    return found


def _row(engine: Engine) -> tuple[str, ...]:
    from .find import is_current

    options = engine.manifest.options
    extras = [
        *(["unpatched"] if options.unpatched else []),
        *options.bench_patches,
        *options.sanitize,
        *(["tools"] if options.tools else []),
        *(["source"] if options.source else []),
        *(f"{name}={value}" for name, value in options.definitions),
    ]
    return (
        engine.name,
        "+".join(engine.backends),
        ",".join(extras) or "-",
        f"{engine.manifest.size_bytes / 1e6:.1f} MB",
        engine.manifest.built_at.removesuffix("+00:00").replace("T", " "),
        "current" if is_current(engine) else "stale",
    )
