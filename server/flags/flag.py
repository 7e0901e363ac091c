"""One flag: its names, what it reads, and what it sets.

The tables of this package are made of these; parser, environment, config file and
documentation are made from the tables.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

TRUTHY = ("on", "enabled", "true", "1")  # llama.cpp's words, common/arg.cpp
FALSEY = ("off", "disabled", "false", "0")


@dataclass(frozen=True)
class Flag:
    """A row of the table. Without `metavar` it is a switch."""

    names: tuple[str, ...]
    help: str = ""
    sets: str = ""
    """Part and field, as "engine.n_ctx"; empty where nothing has to be set."""
    metavar: str = ""
    read: Callable[[str], Any] = str
    """From the text of a value. Raises `argparse.ArgumentTypeError`."""
    env: str = ""
    off: tuple[str, ...] = ()
    """Names of the opposite of a switch."""
    on_value: Any = True
    """What a switch sets."""
    off_value: Any = False
    """And its opposite."""
    many: bool = False
    """Values are tuples that add up when the flag is given again."""
    agrees: bool = False
    """Several flags set the same, and have to say the same."""
    usual: bool = False
    """One of those that `--help` shows."""
    refused: str = ""
    """Why llama-server's flag is not here, and what to do instead."""
    holds: tuple[Any, ...] = ()
    """Values of a refused flag that ask for what is so anyway."""

    @property
    def all_names(self) -> tuple[str, ...]:
        return self.names + self.off

    @property
    def key(self) -> str:
        """Its longest name without dashes: what a config file calls it."""
        return max(self.names, key=len).lstrip("-")

    @property
    def env_off(self) -> str:
        """The variable that turns a switch off by being there, as in llama.cpp; "" for none."""
        return self.env.replace("LLAMA_ARG_", "LLAMA_ARG_NO_") if self.off and self.env else ""

    def of_text(self, text: str) -> Any:
        """The value behind the flag."""
        return self._checked(self.read(text))

    def of_switch(self, on: bool) -> Any:
        """The value of a switch that is turned on or off."""
        return self._checked(self.on_value if on else self.off_value)

    def of_setting(self, text: str) -> tuple[Any, ...]:
        """A variable or a config file says: the value; nothing for "off" where only "on" sets."""
        if self.metavar:
            return (self.of_text(text),)
        if text.lower() in TRUTHY:
            return (self.of_switch(True),)
        if text.lower() not in FALSEY:
            raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
        return (self.of_switch(False),) if self.off else ()

    def _checked(self, value: Any) -> Any:
        if self.refused and value not in self.holds:
            raise argparse.ArgumentTypeError(self.refused)
        return value


def names(text: str) -> tuple[str, ...]:
    """Names between blanks."""
    return tuple(text.split())


def value(
    text: str, sets: str, metavar: str, read: Callable[[str], Any], help: str, **more: Any
) -> Flag:
    """A flag with a value."""
    return Flag(names(text), help, sets, metavar, read, **more)


def switch(text: str, sets: str, help: str, *, off: str = "", **more: Any) -> Flag:
    """A flag without one."""
    return Flag(names(text), help, sets, off=names(off), **more)


def refused(text: str, why: str, metavar: str = "", **more: Any) -> Flag:
    """A flag of llama-server's that would be ignored here."""
    more["off"] = names(more.pop("off", ""))
    return Flag(names(text), metavar=metavar, refused=why, **more)
