"""The three ways in which flags are given, and which of them counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pannier.errors import ArgumentError
from pannier.server.flags.given import add, of_environment, of_file, part
from pannier.server.flags.parser import read_given
from pannier.server.flags.table import GROUPS, flags_of

from .test_flags import no_variables, parse

FLAGS = flags_of(GROUPS)
__all__ = ["no_variables"]


def of_toml(tmp_path: Path, text: str) -> dict[str, Any]:
    file = tmp_path / "c.toml"
    file.write_text(text)
    return of_file(FLAGS, file)


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "c.toml"
    file.write_text("ctx-size = 1\nbatch-size = 1\nport = 1\n")
    monkeypatch.setenv("LLAMA_ARG_BATCH", "2")
    monkeypatch.setenv("LLAMA_ARG_PORT", "2")
    given = read_given(parse("--config", str(file), "--port", "3"), GROUPS)
    assert given == {"engine.n_ctx": 1, "engine.n_batch": 2, "http.port": 3}


def test_what_adds_up_on_one_way_replaces_what_came_by_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LLAMA_API_KEY", "old")
    assert read_given(parse(), GROUPS)["server.api_keys"] == ("old",)
    given = read_given(parse("--api-key", "a", "--api-key", "b,c"), GROUPS)
    assert given["server.api_keys"] == ("a", "b", "c")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"LLAMA_ARG_CTX_SIZE": "8"}, {"engine.n_ctx": 8}),
        ({"LLAMA_ARG_SWA_FULL": "on"}, {"engine.swa_full": True}),
        ({"LLAMA_ARG_SWA_FULL": "0"}, {}),
        ({"LLAMA_ARG_CPU_MOE": "TRUE"}, {"engine.experts": "cpu"}),
        ({"LLAMA_ARG_KV_OFFLOAD": "disabled"}, {"engine.offload_kqv": False}),
        ({"LLAMA_ARG_NO_KV_OFFLOAD": "whatever"}, {"engine.offload_kqv": False}),
        ({"LLAMA_ARG_NO_KV_OFFLOAD": "", "LLAMA_ARG_KV_OFFLOAD": "1"},
         {"engine.offload_kqv": False}),
        ({"LLAMA_ARG_CONTEXT_SHIFT": "1"}, {"server.overflow": "shift"}),
        ({"LLAMA_ARG_CONTEXT_SHIFT": "0"}, {"server.overflow": "stop"}),
        ({"LLAMA_ARG_UI": "0"}, {"http.ui": False}),
        ({"LLAMA_ARG_UI_MCP_PROXY": "0", "LLAMA_ARG_NO_MMPROJ_AUTO": "1"}, {}),
        ({"LLAMA_ARG_AGENT": "false"}, {}),
        ({"LLAMA_ARG_NO_JINJA": ""}, {"chat.use_jinja": False}),
        ({"HF_TOKEN": "x", "LLAMA_ARG_NO_SUCH": "x"}, {}),
    ],
)  # fmt: skip
def test_variables(variables: dict[str, str], expected: dict[str, Any]) -> None:
    assert of_environment(FLAGS, variables) == expected


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("LLAMA_ARG_PORT", "77777", "LLAMA_ARG_PORT: '77777' is not a port"),
        ("LLAMA_ARG_SWA_FULL", "maybe", "'maybe' is neither true nor false"),
        ("LLAMA_ARG_MMPROJ", "x", "LLAMA_ARG_MMPROJ: text models only"),
        ("LLAMA_ARG_NO_CONT_BATCHING", "", "LLAMA_ARG_NO_CONT_BATCHING: requests always"),
        ("LLAMA_ARG_AGENT", "1", "LLAMA_ARG_AGENT: the server runs no tools"),
    ],
)
def test_wrong_variables(name: str, value: str, says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        of_environment(FLAGS, {name: value})


def test_a_file_has_any_name_of_a_flag_and_any_kind_of_value(tmp_path: Path) -> None:
    text = """
        c = 512
        temp = 0.5
        no-mmap = true
        mlock = false
        no_kv_offload = true
        flash-attn = "on"
        override-tensor = ["a=CPU", "b=CPU"]
        alias = ["x,y"]
        seed = -1
    """
    assert of_toml(tmp_path, text) == {
        "engine.n_ctx": 512,
        "sampling.temperature": 0.5,
        "engine.load_mode": "none",
        "engine.offload_kqv": False,
        "engine.flash_attn": "on",
        "engine.tensor_overrides": (("a", "CPU"), ("b", "CPU")),
        "server.aliases": ("x", "y"),
        "sampling.seed": 0xFFFFFFFF,
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("no-such = 1", "no-such is no flag; pannier serve --help-all lists them"),
        ("c = 'x'", "c: 'x' is not a whole number"),
        ("c = {a = 1}", "c: expected text, a number"),
        ("no-cont-batching = true", "no-cont-batching: requests always"),
        ("no-warmup = 3", "no-warmup: expected true or false, got '3'"),
        ("c = ", "is not TOML"),
        ("model = '\udcff'", "cannot read --config"),
    ],
)
def test_wrong_files(text: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ArgumentError, match=says):
        of_file(FLAGS, file)
    with pytest.raises(ArgumentError, match="cannot read --config"):
        of_file(FLAGS, tmp_path / "none.toml")


def test_parts() -> None:
    given: dict[str, Any] = {}
    flag = next(flag for flag in FLAGS if "-ot" in flag.names)
    add(given, flag, (("a", "CPU"),))
    add(given, flag, (("b", "CPU"),))
    assert part(given, "engine") == {"tensor_overrides": (("a", "CPU"), ("b", "CPU"))}
    assert part(given, "eng") == {}
