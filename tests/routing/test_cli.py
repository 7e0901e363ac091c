"""`pannier trace` and `pannier trace show`, and a plan by a trace."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pannier.cli import main
from pannier.engine import Engine
from pannier.errors import ArgumentError
from pannier.routing import read_trace, write_trace
from pannier.routing.prompts import read_prompts
from pannier.synth.routing import Routing
from tests.bindings.conftest import DATA
from tests.conftest import engine_environment

from .traces import drawn_trace

MOE = DATA / "qwen3moe" / "model-f32.gguf"


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A trace, on a machine whose rates nobody measured."""
    monkeypatch.setenv("PANNIER_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "t.json"
    write_trace(path, drawn_trace(Routing(0.3, 0.5), 300))
    return path


def command(
    engine: Engine, cache: Path, *words: object, status: int = 0
) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pannier", *map(str, words)],
        env=engine_environment(engine) | {"PANNIER_CACHE": str(cache)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == status, result.stderr
    return result


@pytest.mark.engine
def test_record_show_and_plan(cpu_engine: Engine, tmp_path: Path) -> None:
    prompts, out = tmp_path / "prompts.jsonl", tmp_path / "t.json.gz"
    prompts.write_text('{"prompt": "a mule"}\n\n{"prompt": "the red one is"}\n')
    words = ("trace", MOE, "--prompts", prompts, "-o", out, "-n", 8, "-np", 2, "-t", 1)
    result = command(cpu_engine, tmp_path, *words, "--temp", 0, "--experts", "cpu")
    assert result.stdout == f"{out}\n"
    assert "tokens/s" in result.stderr
    trace = read_trace(out)
    assert trace.engine == cpu_engine.name
    assert {text for ubatch in trace.ubatches for text in ubatch.sequences} == {0, 1}

    plan = command(cpu_engine, tmp_path, "plan", MOE, "--trace", out, "--json", "-c", 512)
    assert json.loads(plan.stdout)["trace"] == "t.json.gz"
    other = DATA / "qwen3next" / "model-f32.gguf"
    refused = command(cpu_engine, tmp_path, "plan", other, "--trace", out, status=0)
    assert refused.returncode == 0, "four layers with experts, of which the trace has three"
    dense = DATA / "llama" / "model-f32.gguf"
    refused = command(cpu_engine, tmp_path, "plan", dense, "--trace", out, status=1)
    assert "3 layers that use 2 of 8 experts; this model has 0 that use 0 of 0" in refused.stderr
    refused = command(cpu_engine, tmp_path, "trace", dense, *words[2:], status=1)
    assert "has no routed experts" in refused.stderr
    refused = command(cpu_engine, tmp_path, *words, "-c", 10, "-n", 400, status=1)
    assert "there is room for beside the 400 that follow" in refused.stderr


@pytest.mark.engine
def test_questions_go_through_the_chat_template(cpu_engine: Engine, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a mule\n")
    n = {}
    for name, flags in (("plain", ()), ("chat", ("--chat",))):
        out = tmp_path / f"{name}.json"
        words = ("trace", MOE, "--prompts", prompts, "-o", out, "-n", 1, "-t", 1, *flags)
        command(cpu_engine, tmp_path, *words)
        n[name] = read_trace(out).n_tokens
    assert n["chat"] > n["plain"]


def test_the_table(shown: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "show", str(shown), "--cache", "50,2.5,25"]) == 0
    out = capsys.readouterr().out
    assert "2 layers with 128 experts of which a token uses 6; 300 tokens in 300 ubatches" in out
    assert "too small for a token" not in out
    sizes = [line.split()[0] for line in out.splitlines() if " lru " in line]
    assert sizes == ["2.5", "25", "50"]
    assert out.count("does not pay") + out.count("a cache pays") == 3
    assert "gpu 400 GB/s (assumed)" in out
    assert "`pannier bench machine` measures them" in out


def test_json(shown: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "show", str(shown), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [cache["share"] for cache in found["caches"]] == [0.05, 0.1, 0.25, 0.5]
    assert len(found["layers"]) == 2
    assert found["rates"]["measured"] == []
    assert found["expert_bytes_per_token"] == 2 * 6 * 1000


def test_a_chart(shown: Path, tmp_path: Path) -> None:
    path = tmp_path / "hits.svg"
    assert main(["trace", "show", str(shown), "--svg", str(path)]) == 0
    root = ElementTree.fromstring(path.read_text())
    bars = [one for one in root.iter() if one.get("class", "").startswith("bar")]
    assert len(bars) == 3 + 4 * 3, "a legend, and three policies for each of four sizes"
    words = "".join(root.itertext())
    assert "5 % of the experts" in words
    assert "100%" in words


@pytest.mark.parametrize("text", ["", "0", "101", "5,x", "-5", "nan"])
def test_percentages_that_are_none(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["trace", "show", "t.json", f"--cache={text}"])
    assert "has to be percentages above 0" in capsys.readouterr().err


def test_what_is_missing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "show", str(tmp_path / "t.json")]) == 1
    assert "cannot read" in capsys.readouterr().err
    words = ["trace", str(MOE), "--prompts", "p.txt", "-o"]
    assert main([*words, str(tmp_path / "no" / "t.json")]) == 1
    assert "there is no folder" in capsys.readouterr().err
    assert main([*words, str(tmp_path / "t.json")]) == 1
    assert "cannot read --prompts p.txt" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.txt", "\n \n", "has none: write one on each line"),
        ("p.jsonl", "{", r"p.jsonl:1 is not JSON"),
        ("p.jsonl", '\n"x"', r"p.jsonl:2: expected \{\"prompt\""),
        ("p.jsonl", '{"prompt": ""}', "expected"),
        ("p.jsonl", '{"messages": []}', "expected"),
        ("p.jsonl", '{"messages": ["x"]}', "expected"),
    ],
)
def test_prompts_that_are_none(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ArgumentError, match=message):
        read_prompts(tmp_path / name)


def test_prompts(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("one\n\n{two\n")
    assert read_prompts(tmp_path / "p.txt") == ["one", "{two"]
    messages = [{"role": "user", "content": "x"}]
    lines = [{"prompt": "one"}, {"messages": messages}]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert read_prompts(tmp_path / "p.jsonl") == ["one", messages]
