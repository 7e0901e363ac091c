"""A plan's arguments, given to `pannier serve`, say what the plan says."""

from __future__ import annotations

import argparse
from dataclasses import replace

import pytest

from pannier.planner.arguments import flags_between, serve_arguments
from pannier.planner.child import question_of
from pannier.server import cli
from pannier.server.config import EngineConfig
from pannier.server.flags.parser import read_given
from pannier.server.flags.settings import engine_config
from pannier.server.flags.table import GROUPS

PLAIN = EngineConfig(model="m.gguf", engine="e")


def given(arguments):
    parser = argparse.ArgumentParser()
    cli.configure(parser)
    return read_given(parser.parse_args(arguments), GROUPS)


def question(arguments):
    values = given(arguments)
    return question_of(engine_config(values, "m.gguf", "e"), values)


@pytest.mark.parametrize(
    "config",
    [
        PLAIN,
        replace(PLAIN, n_ctx=4096, n_parallel=7, n_batch=512, n_ubatch=64, n_gpu_layers=3),
        replace(PLAIN, cache_type_k="q8_0", cache_type_v="q4_0", flash_attn="on", swa_full=True),
        replace(PLAIN, n_gpu_layers=0, tensor_split=(3.0, 4.5), devices=("A0", "B1")),
        replace(PLAIN, experts="cpu:0-2,5|gpu", tensor_overrides=((r"blk\.(1|2)\.attn", "CPU"),)),
        replace(PLAIN, experts="cpu", n_cpu_moe=3, moe_cache_mib=100, load_mode="none"),
        replace(PLAIN, repack=False, no_host=True, offload_kqv=False, op_offload=False),
        replace(PLAIN, kv_unified=False, n_prefixes=0),
        replace(PLAIN, spec_type="ngram-simple", spec_size_n=3, spec_size_m=5),
    ],
)
def test_there_and_back(config):
    model, *flags = serve_arguments(config)
    assert model == "m.gguf"
    assert engine_config(given(flags), "m.gguf", "e") == config


def test_only_what_differs():
    assert serve_arguments(PLAIN) == ("m.gguf",)
    assert flags_between(replace(PLAIN, n_ctx=512), replace(PLAIN, n_ctx=1024)) == ("-c", "1024")
    assert flags_between(replace(PLAIN, experts="gpu"), PLAIN) == ()


@pytest.mark.parametrize(
    ("arguments", "fields"),
    [
        ([], set()),
        (["-c", "0"], {"n_ctx"}),
        (["--kv-unified-per-slot", "512"], {"n_ctx"}),
        (["-np", "4"], {"n_parallel"}),
        (["-ctk", "f16"], {"cache_type_k"}),
        (["-b", "2048", "-ub", "512"], {"n_batch", "n_ubatch"}),
        (["-ngl", "all"], {"n_gpu_layers"}),
        (["-ngl", "0"], {"n_gpu_layers"}),
        (["-ot", "a=CPU", "-ts", "1,2"], {"tensor_overrides", "tensor_split"}),
        (["-cmoe", "-ncmoe", "2"], {"experts", "n_cpu_moe"}),
        (["--moe-cache-mib", "0"], {"moe_cache_mib"}),
        (["--kv", "split", "-fa", "on"], set()),
    ],
)
def test_what_was_given_is_fixed(arguments, fields):
    assert question(arguments).fixed == fields


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("8G", (8 << 30,)),
        ("8GiB,1.5g", (8 << 30, 3 << 29)),
        ("900M", (900 << 20,)),
        ("64kB", (64 << 10,)),
    ],
)
def test_sizes(text, sizes):
    assert question(["--vram", text]).vram == sizes


@pytest.mark.parametrize("text", ["8", "0G", "x1G", "8X", "8 G", "G"])
def test_sizes_that_are_none(text, capsys):
    with pytest.raises(SystemExit):
        given(["--vram", text])
    assert "is not a size" in capsys.readouterr().err
