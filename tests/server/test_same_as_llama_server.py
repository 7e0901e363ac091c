"""Each case of `same/cases` gets the same answer from llama-server and from pannier.

A case is a request; a module of `same/cases` has a table of them, `CASES`. What may differ, and
why, is in `same/known.py`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pannier.engine import Engine

from .same.case import Case
from .same.known import differences
from .same.pair import Pairs, pairs_of

pytestmark = pytest.mark.engine

TABLES = Path(__file__).parent / "same" / "cases"


def table(name: str) -> list[Case]:
    found: list[Case] = importlib.import_module(f".same.cases.{name}", __package__).CASES
    return found


NAMES = [module.name for module in pkgutil.iter_modules([str(TABLES)])]
CASES = [pytest.param(case, id=f"{name}: {case.name}") for name in NAMES for case in table(name)]


@pytest.fixture(scope="module")
def pairs(tools_engine: Engine) -> Iterator[Pairs]:
    with pairs_of(tools_engine) as found:
        yield found


@pytest.mark.parametrize("case", CASES)
def test_same(case: Case, pairs: Pairs) -> None:
    assert pairs.of(case.world).compare(case) == []


@pytest.mark.parametrize("name", NAMES)
def test_names_are_unique(name: str) -> None:
    names = [case.name for case in table(name)]
    assert len(set(names)) == len(names)


def test_a_difference_is_seen() -> None:
    theirs = {"content": "a", "timings": {"prompt_ms": 1.0}, "n": [{"logprob": -1.0}], "old": 1}
    ours = {"content": "b", "timings": {"prompt_ms": 2.0}, "n": [{"logprob": -1.1}], "new": 1}
    assert sorted(line.split(":")[0] for line in differences(theirs, ours, {})) == [
        "content",
        "n.0.logprob",
        "new",
        "old",
    ]
    assert differences({"a": 1.0}, {"a": 1.0005}, {}) == []
    assert differences({"a": True}, {"a": 1}, {}) != []
    assert differences({"a": {"b": 1}}, {"a": {"b": 2}}, {"a.*": "a reason"}) == []
