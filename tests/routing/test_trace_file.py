"""Traces as files: what is written is read again, what is no trace is refused with its field."""

from __future__ import annotations

import copy
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pannier.errors import TraceError
from pannier.routing import Trace, read_trace, write_trace
from pannier.routing.trace_file import as_dict, of_dict

from .traces import random_trace, trace_of


def same(one: Trace, other: Trace) -> bool:
    return as_dict(one) == as_dict(other)


@pytest.mark.parametrize("name", ["t.json", "t.json.gz"])
def test_there_and_back(tmp_path: Path, name: str) -> None:
    trace = random_trace(1)
    write_trace(tmp_path / name, trace)
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert same(read_trace(tmp_path / name), trace)
    assert ((tmp_path / name).read_bytes()[:2] == b"\x1f\x8b") == name.endswith("gz")


def test_the_format_as_it_is_documented(tmp_path: Path) -> None:
    chosen = [[np.array([[0, 1], [1, 2]]), np.array([[3, 0]])]]
    write_trace(tmp_path / "t.json", trace_of(chosen, 4, sequences=[(5, 5)]))
    found = json.loads((tmp_path / "t.json").read_text())
    assert found.pop("model") == {
        **{"file": "m.gguf", "name": "a model", "architecture": "qwen3moe", "n_layer": 2},
        **{"n_expert": 4, "n_expert_used": 2, "rest_bytes": 0},
    }
    assert found == {
        **{"version": 1, "engine": "cpu-0", "layers": [0, 1], "expert_bytes": [1000, 1000]},
        **{"layouts": [0, 0], "counts": [[1, 2, 1, 0], [1, 0, 0, 1]]},
        "ubatches": [{"n_tokens": 2, "experts": [[0, 1, 1, 2], [3, 0]], "sequences": [5, 5]}],
    }


def test_sizes() -> None:
    trace = random_trace(2)
    assert trace.all_bytes == 16 * (1000 + 1000 + 1500)
    assert trace.token_bytes == 2 * 3500
    assert trace.n_tokens == sum(ubatch.n_tokens for ubatch in trace.ubatches)


PATHS: list[tuple[str, Any, str]] = [
    ("version", 2, "version is 2; this pannier reads version 1"),
    ("model", [], r"model is \[\]; it has to be an object"),
    ("model.n_expert", 0, "n_expert is 0; it has to be a number from 1 to 65536"),
    ("model.n_expert", True, "n_expert is True"),
    ("model.n_expert", 1 << 40, "n_expert is 1099511627776"),
    ("model.n_expert_used", 17, "n_expert_used is 17; it has to be a number from 1 to 16"),
    ("model.name", None, "name is None; it has to be a text"),
    ("model.rest_bytes", -1, "rest_bytes is -1"),
    ("engine", 3, "engine is 3"),
    ("layers", [], r"layers is \[\]; it has to name layers in rising order"),
    ("layers", [0, 2, 1], "in rising order"),
    ("layers", [0, 1, 3], "layers has 3; numbers from 0 to 2"),
    ("layers", ["0"], "layers has to be a list of whole numbers"),
    ("layers", [[0]], "layers has to be a list of whole numbers"),
    ("layers", [0, [1]], "layers has to be a list of whole numbers"),
    ("expert_bytes", [1], "expert_bytes has 1 numbers; it has to have 3"),
    ("expert_bytes", [1, 2, -3], "expert_bytes has -3"),
    ("expert_bytes", [1, 2, 2**70], "expert_bytes has to be a list of whole numbers"),
    ("layouts", [0, 0, 3], "layouts has 3; numbers from 0 to 2"),
    ("counts", [], r"counts\[0\] is None; it has to be a list of numbers"),
    ("counts.1.0", 10**6, r"counts\[1\] is not what the ubatches sum to"),
    ("ubatches", 3, "ubatches is 3; it has to be a list"),
    ("ubatches.2", 3, r"ubatches\[2\] is 3; it has to be an object"),
    ("ubatches.0.n_tokens", 0, r"ubatches\[0\].n_tokens is 0; it has to be a number from 1"),
    ("ubatches.0.experts", [], r"ubatches\[0\].experts is for 0 layers; there are 3"),
    ("ubatches.0.experts.1", [1.5, 2], r"ubatches\[0\].experts\[1\] has to be a list of whole"),
    ("ubatches.0.experts.1", [16, 1], r"experts\[1\] has 16; numbers from 0 to 15 can be there"),
    ("ubatches.0.experts.1", [1], r"experts\[1\] has 1 numbers; \d+ tokens use 2 experts each"),
    ("ubatches.0.experts.1", [1, 2] * 99, r"experts\[1\] has 198 numbers"),
    ("ubatches.0.experts.1", [3, 3], r"experts\[1\] has a token that uses an expert twice"),
    ("ubatches.0.sequences", [1, 2] * 99, r"ubatches\[0\].sequences has 198 numbers for"),
    ("ubatches.0.sequences", "x", r"ubatches\[0\].sequences is 'x'"),
]


@pytest.mark.parametrize(("path", "value", "message"), PATHS)
def test_what_is_wrong_is_named(path: str, value: Any, message: str) -> None:
    found = copy.deepcopy(json.loads(json.dumps(as_dict(random_trace(0)))))
    *parents, last = path.split(".")
    place = found
    for name in parents:
        place = place[int(name)] if isinstance(place, list) else place[name]
    place[int(last) if isinstance(place, list) else last] = value
    with pytest.raises(TraceError, match=message):
        of_dict(found)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is not JSON"),
        (b"\xff\xfe", "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
        (b"[]", r"the file is \[\]"),
        (b"\x1f\x8b\x08\x00junk", "cannot read"),
        (gzip.compress(b"{}", mtime=0)[:-6], "cannot read"),
        (gzip.compress(b" " * (1 << 16), mtime=0), "it is not JSON"),
    ],
)
def test_files_that_are_no_traces(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "t.json"
    path.write_bytes(content)
    with pytest.raises(TraceError, match=message) as caught:
        read_trace(path)
    assert str(path) in str(caught.value)


def test_a_file_that_swells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pannier.routing.trace_file.MAX_BYTES", 1 << 20)
    path = tmp_path / "t.json.gz"
    path.write_bytes(gzip.compress(b" " * (2 << 20), mtime=0))
    with pytest.raises(TraceError, match="more than 1 MiB"):
        read_trace(path)


def test_a_missing_file_and_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"cannot read .*: No such file"):
        read_trace(tmp_path / "t.json")
    with pytest.raises(TraceError, match=r"cannot write .*: No such file"):
        write_trace(tmp_path / "no" / "t.json", random_trace(0))
