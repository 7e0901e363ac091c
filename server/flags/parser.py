"""The command line, made from the table."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .defaults import default_text
from .flag import Flag
from .given import Given, add, of_environment, of_file
from .table import Groups, flags_of

GIVEN = "given"


class Take(argparse.Action):
    """Reads one flag into the namespace's `given`."""

    def __init__(self, option_strings: Sequence[str], dest: str, flag: Flag, help: str) -> None:
        self.flag = flag
        may_lack = flag.refused and flag.metavar and not flag.holds
        nargs = "?" if may_lack else None if flag.metavar else 0
        super().__init__(
            option_strings,
            dest=GIVEN,
            nargs=nargs,
            default=argparse.SUPPRESS,
            metavar=flag.metavar or None,
            help=help,
        )

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        if not hasattr(namespace, GIVEN):
            setattr(namespace, GIVEN, {})
        try:
            add(getattr(namespace, GIVEN), self.flag, self._value(values, option_string))
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentError(self, str(error)) from error

    def _value(self, values: Any, option_string: str | None) -> Any:
        if self.flag.metavar:
            return self.flag.of_text(values or "")
        return self.flag.of_switch(option_string not in self.flag.off)


class HelpAll(argparse.Action):
    """Prints every flag and ends."""

    def __init__(self, option_strings: Sequence[str], dest: str, groups: Groups) -> None:
        help = "show every flag, llama-server's that are not here too"
        super().__init__(option_strings, dest=argparse.SUPPRESS, nargs=0, help=help,
                         default=argparse.SUPPRESS)  # fmt: skip
        self._groups = groups

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        full = argparse.ArgumentParser(
            prog=parser.prog, usage=parser.usage, description=parser.description
        )
        full.add_argument("model", nargs="?", metavar="MODEL", help="the GGUF file to serve")
        add_flags(full, self._groups, every=True)
        parser._print_message(full.format_help(), sys.stdout)
        parser.exit()


def add_flags(
    parser: argparse.ArgumentParser, groups: Groups, *, every: bool = False, hidden: bool = False
) -> None:
    """Add the flags of these groups; those that are not usual are accepted and not shown, and if
    they are `hidden` none is."""
    for title, flags in groups.items():
        group = parser.add_argument_group(title)
        for flag in flags:
            shown = every or (flag.usual and not hidden)
            text = help_of(flag).replace("%", "%%") if shown else argparse.SUPPRESS
            group.add_argument(*flag.all_names, action=Take, dest=GIVEN, flag=flag, help=text)


def add_sources(parser: argparse.ArgumentParser, groups: Groups) -> None:
    """Add `--config`, `--help-all` and `--usage`."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="a TOML file of flags, as ctx-size = 8192; environment and command line win",
    )
    parser.add_argument("--help-all", action=HelpAll, groups=groups)
    parser.add_argument("--usage", action="help", help="the same as --help")
    parser.add_argument(
        "--version",
        action="version",
        version=f"pannier {version('pannier')}",
        help="print the version and end",
    )


def help_of(flag: Flag) -> str:
    """What a page says of a flag."""
    if flag.refused:
        passing = ", ".join(map(_shown, flag.holds))
        return f"refused{f' but for {passing}' if passing else ''}: {flag.refused}"
    default = default_text(flag)
    return f"{flag.help} (default: {default})" if default else flag.help


def _shown(value: Any) -> str:
    return ("on" if value else "off") if isinstance(value, bool) else str(value)


def read_given(args: argparse.Namespace, groups: Groups) -> Given:
    """All that was given, by whichever way. Raises `ArgumentError`."""
    flags = flags_of(groups)
    given = of_file(flags, args.config) if getattr(args, "config", None) else {}
    given |= of_environment(flags, os.environ)
    given |= getattr(args, GIVEN, {})
    return given
