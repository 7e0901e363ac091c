"""The `pannier` command: one parser, one place that exits.

A command is a module with two functions: `configure(parser)` adds its options
and `execute(args)` does the work and returns the exit status. Chatter goes to
stderr, results to stdout.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from .errors import PannierError

COMMANDS = {
    "build": ("pannier.engine.cli_build", "build the patched llama.cpp engine for this machine"),
    "engines": ("pannier.engine.cli_engines", "list, verify and remove built engines"),
    "patch": ("pannier.engine.cli_patch", "list, check, unpack and export the patch series"),
    "convert": ("pannier.convert.cli", "convert a Hugging Face checkpoint to GGUF"),
    "synth": ("pannier.synth.cli", "make a model file of real shapes and random weights"),
    "place": ("pannier.modelfile.cli_place", "write where a model file's experts belong"),
    "plan": ("pannier.planner.cli", "say what a model will take, and choose what fits"),
    "doctor": ("pannier.doctor", "check where a model's ops would run, without loading it"),
    "inspect": ("pannier.modelfile.cli", "check a model file and show what it says and costs"),
    "trace": ("pannier.routing.cli", "record which experts a text needs, and reckon with it"),
    "bench": ("pannier.bench.cli", "measure what a model takes on this machine"),
    "serve": ("pannier.server.cli", "serve a model over HTTP to several clients"),
    "chat": ("pannier.chat_cli.cli", "talk to a model or a server in the terminal"),
    "complete": ("pannier.chat_cli.complete", "go on with a text, by a model or a server"),
}


class Parser(argparse.ArgumentParser):
    """Takes `--ctx_size` for `--ctx-size`, as llama.cpp's programs do."""

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        """As argparse's, with underscores in flags read as dashes, and the first of the parser's
        verbs (a default of that name) where none is named."""
        words = list(map(dashed, args or ()))
        verbs = self.get_default("verbs")
        if verbs and words and words[0] not in (*verbs, "-h", "--help"):
            words.insert(0, verbs[0])
        return super().parse_known_args(words, namespace)


def dashed(argument: str) -> str:
    """A long flag by the name that it is listed under; anything else as it is."""
    name, sign, value = argument.partition("=")
    return name.replace("_", "-") + sign + value if name.startswith("--") else argument


def make_parser() -> argparse.ArgumentParser:
    """The whole parser, every command configured."""
    parser = Parser(
        prog="pannier",
        description="Run big mixture-of-experts and hybrid models on small GPUs, "
        "for several clients at once.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, (module, summary) in COMMANDS.items():
        command = importlib.import_module(module)
        sub = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:])
        command.configure(sub)
        sub.set_defaults(execute=command.execute)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status. Known errors become one line on stderr."""
    args = make_parser().parse_args(sys.argv[1:] if argv is None else argv)
    try:
        status: int = args.execute(args)
    except PannierError as error:
        sys.stderr.write(f"pannier: error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("pannier: interrupted\n")
        return 130
    return status


def run() -> None:
    """Entry point of the console script. A reader that went away (`| head`) is no error."""
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 141  # as if SIGPIPE had ended it
    sys.exit(status)
