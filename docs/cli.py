"""Write `cli.md` from the parsers: `python docs/cli.py`.

Made from what argparse knows and not from its `--help` text, whose layout
differs between versions of Python.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from pannier.cli import make_parser

PAGE = Path(__file__).with_name("cli.md")
HEAD = """# Commands

Made by `docs/cli.py` from what `--help` says. Results go to stdout, chatter to stderr.
Status 0: done; 1: an error, said in one line; 2: wrong arguments; 130: interrupted.
"""


def page() -> str:
    """The whole page."""
    sections = (section(parser) for parser in commands(make_parser()))
    return "\n".join([HEAD, *filter(None, sections)])


def commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parser and those of its commands and verbs, depth first."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from commands(command)


def section(parser: argparse.ArgumentParser) -> str:
    """One command: what it does and a table for each group of its arguments; "" for neither."""
    lines = [f"## {parser.prog}", ""]
    if parser.description:
        lines += [f"{parser.description.rstrip('.')}.", ""]
    for group in parser._action_groups:
        rows = [row(parser, name, text) for name, text in arguments(group)]
        if rows:
            lines += [f"| {group.title} | |", "|---|---|", *rows, ""]
    return "\n".join(lines) if len(lines) > 2 else ""


def arguments(group: argparse._ArgumentGroup) -> Iterator[tuple[str, argparse.Action]]:
    """Each argument as it is typed; a command's name for the arguments that are commands."""
    for action in group._group_actions:
        if isinstance(action, argparse._SubParsersAction):
            for choice in action._choices_actions:
                yield choice.dest, choice
        elif action.help is not argparse.SUPPRESS and action.dest != "help":
            yield typed(action), action


def typed(action: argparse.Action) -> str:
    """`-c N, --ctx-size N` as in Python 3.13 and later: the value once, at the end."""
    value = "" if action.nargs == 0 else f" {value_name(action)}"
    return (", ".join(action.option_strings) + value).strip()


def value_name(action: argparse.Action) -> str:
    """What stands for the value: its metavar, its choices, or its name in capitals."""
    if action.choices is not None and action.metavar is None:
        return "{" + ",".join(map(str, action.choices)) + "}"
    name = action.metavar or action.dest.upper()
    shown = name if isinstance(name, str) else " ".join(name)
    return {"?": f"[{shown}]", "*": f"[{shown} ...]"}.get(str(action.nargs), shown)


def row(parser: argparse.ArgumentParser, name: str, action: argparse.Action) -> str:
    """One line of a table."""
    text = help_of(parser, action).replace("*", "\\*")  # a star could begin emphasis
    return f"| `{escaped(name)}` | {escaped(text)} |"


def help_of(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    """The help text, with what argparse fills into it."""
    return (action.help or "") % {**vars(action), "prog": parser.prog}


def escaped(text: str) -> str:
    """Text for a cell: a bar would end it."""
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
