"""The table against the pinned llama-server's own `--help`: nothing of it is missing or ignored."""

from __future__ import annotations

import re
import subprocess

import pytest

from pannier.cli import make_parser
from pannier.engine import Engine
from pannier.server.flags.table import GROUPS, by_name

OURS = {"-h", "--help", "--usage", "--version"}
"""Those that argparse answers."""
NOT_OF_LLAMA = {"HF_TOKEN", "MTMD_BACKEND_DEVICE"}
"""Variables that other programs have too: that they are set asks this server for nothing."""


def sections(engine: Engine) -> list[str]:
    """One text for each flag."""
    assert engine.tools is not None
    program = engine.tools / "llama-server"
    page = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
    return re.findall(r"^-(?!----).*(?:\n(?: .*)?)*", page, re.MULTILINE)


def names_of(section: str) -> list[str]:
    """The names before the first value or the help text."""
    return re.findall(r"(?:^|, +)(--?[A-Za-z][\w.-]*)", section.split("\n")[0])


def variables_of(section: str) -> list[str]:
    return re.findall(r"\(env: (\w+)\)", section)


@pytest.mark.engine
def test_every_flag_and_variable_is_taken_or_refused(tools_engine: Engine) -> None:
    table = by_name(GROUPS)
    found = sections(tools_engine)
    assert len(found) > 200
    for section in found:
        names = names_of(section)
        assert names
        if set(names) <= OURS:
            continue
        flags = {id(table[name]): table[name] for name in names}
        for variable in set(variables_of(section)) - NOT_OF_LLAMA:
            assert variable in {flag.env for flag in flags.values()}, names


@pytest.mark.engine
def test_flags_take_a_value_where_llama_servers_do(tools_engine: Engine) -> None:
    table = by_name(GROUPS)
    for section in sections(tools_engine):
        names = names_of(section)
        if set(names) <= OURS:
            continue
        _, found, rest = section.split("\n")[0].rpartition(f"{names[-1]} ")
        takes_value = bool(found) and not rest.startswith(" ")
        assert all(bool(table[name].metavar) == takes_value for name in names), section


def test_refusals_say_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    """Each refused flag ends the command with its reason, with a value or without."""
    parser = make_parser()
    for name, flag in by_name(GROUPS).items():
        if not flag.refused or (name in flag.off and False in flag.holds):
            continue
        if name in flag.names and True in flag.holds:
            continue
        values = ["never"] if flag.metavar else []
        with pytest.raises(SystemExit) as ended:
            parser.parse_args(["serve", "--demo", name, *values])
        assert ended.value.code == 2
        said = capsys.readouterr().err.splitlines()[-1]
        assert flag.refused in said and ": " in flag.refused, said
