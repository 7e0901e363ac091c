"""What the operator gave, by the command line, the environment and a config file.

The command line wins over the environment, and that over the file. Values of one flag that may
be given several times add up within one of the three, not over them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...errors import ArgumentError
from .flag import Flag

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Given = dict[str, Any]
"""Values by what they set, as "engine.n_ctx"."""


def add(given: Given, flag: Flag, value: Any) -> None:
    """One more value; of two for the same thing the later one counts. Raises
    `argparse.ArgumentTypeError` where they have to agree and do not."""
    if flag.refused or not flag.sets:
        return
    if flag.agrees and given.get(flag.sets, value) != value:
        raise argparse.ArgumentTypeError("another flag has set this to something else: give one")
    if flag.many and isinstance(given.get(flag.sets), tuple):
        value = given[flag.sets] + value
    given[flag.sets] = value


def part(given: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Fields and values of one part, as "engine"."""
    head = f"{name}."
    return {key[len(head) :]: value for key, value in given.items() if key.startswith(head)}


def of_environment(flags: tuple[Flag, ...], environ: Mapping[str, str]) -> Given:
    """From llama-server's variables. Raises `ArgumentError`."""
    given: Given = {}
    for flag in flags:
        if not flag.env:
            continue
        if flag.env_off and flag.env_off in environ:
            _take(given, flag, "0", flag.env_off)
        elif flag.env in environ:
            _take(given, flag, environ[flag.env], flag.env)
    return given


def of_file(flags: tuple[Flag, ...], path: Path) -> Given:
    """From a TOML file whose keys are flags without dashes in front. Raises `ArgumentError`."""
    known = {name.lstrip("-"): flag for flag in flags for name in flag.all_names}
    given: Given = {}
    for key, value in _table(path).items():
        name = key.replace("_", "-")
        flag = known.get(name)
        where = f"{path}: {key}"
        if flag is None:
            raise ArgumentError(f"{where} is no flag; pannier serve --help-all lists them")
        for text in _texts(value, where):
            off = any(name == other.lstrip("-") for other in flag.off)
            _take(given, flag, _opposite(text, where) if off else text, where)
    return given


def _take(given: Given, flag: Flag, text: str, where: str) -> None:
    try:
        for value in flag.of_setting(text):
            add(given, flag, value)
    except argparse.ArgumentTypeError as error:
        raise ArgumentError(f"{where}: {error}") from error


def _table(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ArgumentError(f"cannot read --config {path}: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ArgumentError(f"--config {path} is not TOML: {error}") from error


def _texts(value: Any, where: str) -> Iterator[str]:
    """A value as the command line would have it; a list stands for the flag given again."""
    if isinstance(value, list):
        for item in value:
            yield from _texts(item, where)
    elif isinstance(value, bool):
        yield "true" if value else "false"
    elif isinstance(value, (str, int, float)):
        yield str(value)
    else:
        raise ArgumentError(f"{where}: expected text, a number, true, false or a list of them")


def _opposite(text: str, where: str) -> str:
    if text not in ("true", "false"):
        raise ArgumentError(f"{where}: expected true or false, got {text!r}")
    return "false" if text == "true" else "true"
