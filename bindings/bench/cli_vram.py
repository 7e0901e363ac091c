"""`pannier bench vram`: bytes of each additional client, as planned, allocated and measured."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ArgumentError
from ..part import whole
from ..server.flags.given import Given
from ..server.flags.parser import add_flags, read_given
from ..server.flags.table import BENCH_GROUPS
from ..server.flags.values import at_least
from .load import Load

if TYPE_CHECKING:
    from ..server.config import EngineConfig
    from .report import Report

N_CLIENTS = 8
NOTES = """servers of 1, 2, 4 ... clients are started one after the other. Without -c each has the
context that its clients fill; with -c all have the same. Figures of a device are the driver's
for the process, else all that is in use there; where a driver says nothing, and for the CPU, they
are the process's resident memory."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags: what the clients ask for, and what a server's memory depends on."""
    parser.allow_abbrev = False
    parser.usage = "%(prog)s [MODEL] [FLAG ...]"
    parser.description = f"{parser.description}: {' '.join(NOTES.split())}"
    parser.add_argument("model", nargs="?", metavar="MODEL", help="the GGUF file to measure")
    group = parser.add_argument_group("bench")
    for flags, default, least, words in (
        (("--prompt",), Load.n_prompt, 1, "tokens of each client's prompt"),
        (("--shared",), Load.n_shared, 0, "tokens that all prompts begin with"),
        (("-n", "--predict"), Load.n_predict, 1, "most tokens that a client generates meanwhile"),
    ):
        group.add_argument(
            *flags,
            type=at_least(least),
            default=default,
            metavar="N",
            help=f"{words} (default: %(default)s)",
        )
    group.add_argument(
        "--plan-only", action="store_true", help="say what is planned, and start no server"
    )
    group.add_argument(
        "--compare",
        choices=("unfixed",),
        help="beside it: an engine, built at first use, without llama.cpp's fix of the KV cache of "
        "hybrid models, with which the cache of 8 clients took 8 times that of one",
    )
    group.add_argument(
        "-o", "--out", type=Path, metavar="NAME", help="write NAME.json and NAME.svg, a chart"
    )
    group.add_argument("--json", action="store_true", help="print JSON, sizes in bytes")
    add_flags(parser, BENCH_GROUPS)


def execute(args: argparse.Namespace) -> int:
    """Plan, measure, print and write."""
    from .provenance import head

    if args.out is not None and not args.out.parent.is_dir():
        raise ArgumentError(f"-o {args.out}: there is no folder {args.out.parent}")
    given = read_given(args, BENCH_GROUPS)
    report: Report = bench(args, given)
    found = head("vram", command_of(sys.argv)) | report.as_dict()
    if args.out is not None:
        write(args.out, found, report)
    if args.json:
        sys.stdout.write(as_json(found))
        return 0
    from rich.console import Console

    Console(soft_wrap=True, highlight=False).print(report.tables())
    return 0


def bench(args: argparse.Namespace, given: Given) -> Report:
    """All servers of all setups. Raises ArgumentError for clients that cannot be."""
    from ..modelfile import open_model_file
    from ..server.named_model import find_model, find_or_build
    from .measure import run
    from .report import Report
    from .setup import check, setups
    from .unfixed import unfixed_engine

    load = Load(args.prompt, args.shared, args.predict)
    model = find_model(args.model, given)
    file = open_model_file(model, given.get("engine.kv_overrides", ()))
    engine = find_or_build(given.get("start.backend"))
    config = configuration(given, str(model), str(engine.directory), bool(args.compare))
    check(config, file, load, compared=bool(args.compare))
    unfixed = str(unfixed_engine(engine).directory) if args.compare else None
    return Report(
        model.name,
        load,
        tuple(
            run(setup, load, plan_only=args.plan_only)
            for setup in setups(config, unfixed, file, load)
        ),
    )


def configuration(given: Given, model: str, engine: str, compared: bool) -> EngineConfig:
    """That of the server with the most clients. Raises ArgumentError, PlanError."""
    from ..server.cli import planned
    from ..server.flags.settings import engine_config

    if compared and "engine.kv_unified" in given:
        raise ArgumentError("--compare shows both kinds of cache: leave --kv out")
    given = {"engine.n_parallel": N_CLIENTS} | given
    config = engine_config(given, model, engine)
    return planned(config, given) if given.get("start.vram") else config


def command_of(argv: list[str]) -> list[str]:
    """What was typed, without folders of this machine."""
    words = [Path(word).name if "/" in word else word for word in argv[1:]]
    return ["pannier", *(shlex.quote(word) for word in words)]


def write(name: Path, found: dict[str, object], report: Report) -> None:
    """Both files, each whole or not at all. Raises ArgumentError where they cannot be written."""
    try:
        for suffix, content in ((".json", as_json(found)), (".svg", report.chart().svg())):
            path = name.with_name(name.name + suffix)
            with whole(path) as part:
                part.write_text(content, "utf-8")
    except OSError as error:
        raise ArgumentError(f"cannot write -o {name}: {error.strerror}") from error


def as_json(found: dict[str, object]) -> str:
    return json.dumps(found, indent=1, allow_nan=False) + "\n"
