"""What the options of a conversion may be."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from pannier.convert.job import Job
from pannier.convert.options import Options, make_options, parse_size
from pannier.errors import ConvertError


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [
        ("20G", 20 << 30),
        ("20g", 20 << 30),
        ("1.5 GiB", 3 << 29),
        ("19.5GB", 19_500_000_000),
        ("700M", 700 << 20),
        ("123456", 123456),
        (5, 5),
    ],
)
def test_sizes(text: str | int, n_bytes: int) -> None:
    assert parse_size(text) == n_bytes


@pytest.mark.parametrize("text", ["", "G", "20X", "-5G", "0", "1e9", "20 G B"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(ConvertError, match="is no size: write 20G"):
        parse_size(text)


def test_they_travel_as_json() -> None:
    options = make_options(
        quant="q4_k_m", tensor_types=["a=b=q8_0", ("ffn_down", "Q6_K")], experts="cpu", mtp="drop"
    )
    assert options.tensor_types == (("a=b", "Q8_0"), ("ffn_down", "Q6_K"))
    job = Job("t", "c", "f", "n", "BF16", options, False, 3)
    assert Job.from_json(json.loads(json.dumps(asdict(job)))) == job
    assert make_options() == Options()


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"quant": "Q4_K_X"}, "no quantisation recipe 'Q4_K_X'"),
        ({"tensor_types": ["ffn_down"]}, "write PATTERN=TYPE"),
        ({"tensor_types": ["=Q8_0"]}, "write PATTERN=TYPE"),
        ({"tensor_types": ["(=Q8_0"]}, "no regular expression"),
        ({"tensor_types": ["x=Q4_K_M"]}, "no tensor type 'Q4_K_M'; nearest: Q4_K"),
        ({"experts_quant": "q9"}, "no tensor type 'q9'"),
        ({"output_quant": ""}, "no tensor type ''"),
        ({"experts": "tpu"}, "experts is 'tpu', with 'tpu': it must be cpu, gpu, auto"),
        ({"mtp": "maybe"}, "mtp is 'maybe': one of keep, drop, only"),
        ({"quant": "Q8_0", "target_size": "1G"}, "--target-size chooses the recipe"),
        ({"imatrix": Path("absent.gguf")}, r"no importance matrix .*absent\.gguf"),
    ],
)
def test_wrong_ones(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ConvertError, match=named):
        make_options(**wrong)
