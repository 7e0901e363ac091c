"""The phases of `run`, one after the other, and the one results file that they leave.

A phase that fails is recorded with its last lines; those that can do without it
still run. The file is written after every phase, so a run that is cut short
leaves what it had. README.md beside this file names the variables.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from bench_run import Bench, read_json
from experts import experts
from machine import describe, versions
from memory import memory
from runner import output_of, say

MODELS = ("large", "small")
DEVICES = """
import dataclasses, json, pannier
print(json.dumps([dataclasses.asdict(device) for device in pannier.devices()]))
"""
UNFIXED = """
from pannier.bench.unfixed import unfixed_engine
from pannier.engine import ensure_engine
print(unfixed_engine(ensure_engine()).directory)
"""


def install(bench: Bench) -> None:
    """Wheels and the project into a folder of their own: no environment is touched or needed."""
    site = bench.work / "site"
    shutil.rmtree(site, ignore_errors=True)
    wheels = bench.work / "wheels.txt"
    wheels.write_text("\n".join(str(path) for path in (bench.bundle / "wheels").glob("*.whl")))
    pip = ["-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-cache-dir"]
    pip += ["--disable-pip-version-check", "--target", str(site)]
    if bench.python("install-wheels", *pip, "-r", str(wheels)).ok:
        bench.python("install-project", *pip, "--no-build-isolation", str(bench.project))
    bench.results["versions"] = versions(site)


def build(bench: Bench) -> None:
    """The engine with llama.cpp's programs; where it is cheap, two to compare with."""
    bench.results["cuda"] = asdict(bench.kit)
    bench.state.clear()
    bench.keep()
    definitions = [f"-D{name}={value}" for name, value in bench.kit.definitions.items()]
    command = ("-m", "pannier", "build", "--backend", bench.backend, "--tools", *definitions)
    if not bench.python("build", *command).ok:
        return
    bench.keep(engine=bench.said("build"))
    bench.results["engine"] = engine_facts(Path(bench.state["engine"]))
    if bench.python("build-devices", "-c", DEVICES).ok:
        bench.results["devices"] = json.loads(bench.said("build-devices"))
    # Without a compiler cache each of these would cost all that time once more.
    if shutil.which("ccache") and bench.python("build-stock", *command, "--unpatched").ok:
        bench.keep(stock=bench.said("build-stock"))
        if bench.python("build-unfixed", "-c", UNFIXED).ok:
            bench.keep(unfixed=bench.said("build-unfixed"))


def tests(bench: Bench) -> None:
    """The tests marked gpu, in the engine that was built."""
    if "engine" not in bench.state:
        return bench.fail("tests", "there is no engine to test")
    report = bench.work / "tests.xml"
    report.unlink(missing_ok=True)
    # The family that has room for the tests' own figures.
    options = ("-p", "no:cacheprovider", f"--junitxml={report}", "-o", "junit_family=xunit1")
    bench.python("tests", "-m", "pytest", "-m", "gpu", *options, "tests/gpu")
    if report.is_file():
        bench.results["tests"] = test_summary(report)
    return None


def throughput(bench: Bench) -> None:
    """bench/throughput on both models, then on the large one with its experts in CPU memory."""
    if "engine" not in bench.state:
        return bench.fail("throughput", "there is no engine to measure")
    tools = Path(bench.state.get("stock", bench.state["engine"])) / "bin"
    bench.results["llama_server"] = "stock" if "stock" in bench.state else "with our patches"
    models = ("--out", str(bench.work / "models"), "--quantize", str(tools / "llama-quantize"))
    if not bench.python("throughput-models", "bench/models.py", *models, *MODELS).ok:
        return None
    paths = output_of(bench.work / "throughput-models.log").read_text().split()
    on_gpu = "" if bench.backend == "cpu" else "-ngl 99"
    runs = {name: (path, on_gpu) for name, path in zip(MODELS, paths, strict=True)}
    if on_gpu:
        runs["experts-in-cpu-memory"] = (paths[0], f"{on_gpu} --cpu-moe")
    bench.results["throughput"] = {}
    for name, (path, flags) in runs.items():
        out = bench.work / f"throughput-{name}.json"
        out.unlink(missing_ok=True)
        command = ["bench/throughput/run.py", "--model", path, "--out", str(out)]
        command += ["--llama-server", str(tools / "llama-server"), f"--flags={flags}"]
        bench.python(f"throughput-{name}", *command, "--stream=yes", *bench.options["throughput"])
        bench.results["throughput"][name] = read_json(out)
    return None


def engine_facts(directory: Path) -> dict[str, Any]:
    """What the engine is made of and what it weighs, from its manifest."""
    manifest = read_json(directory / "manifest.json") or {}
    files = manifest.get("files", {}).values()
    names = ("source", "patches", "definitions", "compilers", "targets")
    return {
        "name": directory.name,
        "key": manifest.get("key"),
        "size_bytes": sum(record["size_bytes"] for record in files),
        **{name: manifest.get("ingredients", {}).get(name) for name in names},
    }


def test_summary(report: Path) -> dict[str, Any]:
    """Counts, and every test with its outcome and its seconds."""
    cases = list(ElementTree.parse(report).iter("testcase"))
    tags = {"failure": "failed", "error": "error", "skipped": "skipped"}
    rows = []
    for case in cases:
        bad = next((child for child in case if child.tag in tags), None)
        row = {
            "test": f"{case.get('classname')}::{case.get('name')}",
            "outcome": "passed" if bad is None else tags[bad.tag],
            "seconds": float(case.get("time", 0)),
        }
        rows.append(row if bad is None else row | {"why": (bad.get("message") or "")[:500]})
        figures = {p.get("name"): p.get("value") for p in case.iter("property")}
        if figures:
            rows[-1]["figures"] = figures
    outcomes = [row["outcome"] for row in rows]
    counts = {outcome: outcomes.count(outcome) for outcome in ("passed", *tags.values())}
    return {"counts": counts, "tests": rows}


PHASES: dict[str, Callable[[Bench], None]] = {
    "install": install,
    "build": build,
    "tests": tests,
    "memory": memory,
    "throughput": throughput,
    "experts": experts,
}


def facts(bench: Bench) -> dict[str, Any]:
    """What the results file says before the first phase."""
    packed = read_json(bench.bundle / "bundle.json") or {}
    from_bundle = not (bench.bundle.parent / "phases.py").is_file()
    real = bench.backend == "cuda"
    return {
        "bench": "gpu",
        "stand_in": None if real else f"the {bench.backend} engine in place of CUDA's: a dry run",
        "started_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": describe(),
        "project": {
            "from": "the bundle" if from_bundle else "the checkout around the bundle",
            "packed_commit": packed.get("commit"),
        },
        "settings": {
            name: value
            for name, value in sorted(os.environ.items())
            if re.match(r"BENCH_|PANNIER_|GGML_|CUDA_", name)
        },
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("--bundle", "--work", "--out"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("phases", nargs="*", help="as BENCH_PHASES, after install and build")
    args = parser.parse_args(argv)
    named = {"BENCH_PHASES": " ".join(["install", "build", *args.phases])} if args.phases else {}
    bench = Bench(args.bundle, args.work, args.out, {**os.environ, **named})
    if unknown := set(bench.wanted) - set(PHASES):
        sys.exit(f"run: no phase {', '.join(sorted(unknown))}: there are {', '.join(PHASES)}")
    # A run that is told to stop takes its child along and keeps what it has.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    bench.results = facts(bench)
    for name, phase in PHASES.items():
        if name in bench.wanted:
            phase(bench)
    bench.save()
    failed = [outcome.phase for outcome in bench.outcomes if not outcome.ok]
    say(f"results: {bench.file}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
