"""Recipes: their names and numbers are llama.cpp's."""

from __future__ import annotations

import re

import pytest

from pannier.convert.recipes import FILE_TYPES, LADDER, recipe_named
from pannier.engine import source_tree
from pannier.errors import ConvertError


def test_numbers_are_llama_cpps() -> None:
    header = (source_tree() / "include" / "llama.h").read_text()
    rows = re.findall(r"^\s+LLAMA_FTYPE_(?:MOSTLY|ALL)_(\w+)\s+= (\d+)", header, re.MULTILINE)
    numbers = {name: int(number) for name, number in rows}
    # NVFP4 is kept where a checkpoint has it: llama-quantize does not make it
    assert {name: number for name, number in numbers.items() if name != "NVFP4"} == FILE_TYPES


def test_every_name_that_llama_quantize_takes() -> None:
    tool = (source_tree() / "tools" / "quantize" / "quantize.cpp").read_text()
    names = set(re.findall(r'^    \{ "(\w+)"', tool, re.MULTILINE)) - {"COPY"}
    assert len(names) > 30
    assert {recipe_named(name.lower()) for name in names} == set(FILE_TYPES)


def test_the_ladder_is_made_of_recipes() -> None:
    assert set(LADDER) < set(FILE_TYPES)
    assert len(set(LADDER)) == len(LADDER)


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(ConvertError, match=r"no quantisation recipe 'q4km'; nearest: Q4_K_M"):
        recipe_named("q4km")
