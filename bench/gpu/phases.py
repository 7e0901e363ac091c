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
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from machine import describe, versions
from runner import Outcome, output_of, run, say
from toolkit import Toolkit, find_toolkit

TOTAL_S = 540.0
"""All phases together, unless BENCH_TOTAL_S says otherwise."""
LIMITS_S = {"install": 90.0, "build": 480.0, "tests": 180.0, "throughput": 240.0}
"""Each command of a phase, unless BENCH_LIMITS says otherwise."""
MODELS = ("large", "small")
DEVICES = """
import dataclasses, json, pannier
print(json.dumps([dataclasses.asdict(device) for device in pannier.devices()]))
"""


class Bench:
    """One run: its folders, its environment, its results so far."""

    def __init__(self, bundle: Path, work: Path, out: Path, settings: Mapping[str, str]) -> None:
        self.bundle = bundle
        self.work = work
        self.project = work / "project"
        self.backend = settings.get("PANNIER_GPU_BACKEND", "cuda")
        self.wanted = settings.get("BENCH_PHASES", " ".join(LIMITS_S)).split()
        self.limits = LIMITS_S | dict(
            _limit(text) for text in settings.get("BENCH_LIMITS", "").split()
        )
        self.deadline = time.monotonic() + float(settings.get("BENCH_TOTAL_S", TOTAL_S))
        self.bench_options = settings.get("BENCH_THROUGHPUT", "").split()
        self.outcomes: list[Outcome] = []
        self.results: dict[str, Any] = {}
        self.state = _read(work / "state.json") or {}
        name = f"gpu-{self.backend}-{time.strftime('%Y%m%d-%H%M%S')}.json"
        self.file = out / name
        self.names = {str(work): "$WORK", str(bundle): "$BUNDLE", sys.executable: "python"}
        out.mkdir(parents=True, exist_ok=True)

    @cached_property
    def kit(self) -> Toolkit:
        """CUDA's parts; nothing of them for a stand-in."""
        return find_toolkit() if self.backend == "cuda" else Toolkit()

    @property
    def environment(self) -> dict[str, str]:
        """Of every command: our packages, our cache, the pinned archive, CUDA's libraries."""
        facts = _read(self.bundle / "bundle.json") or {}
        known = [*self.kit.library_folders, os.environ.get("LD_LIBRARY_PATH", "")]
        engine = self.state.get("engine")
        return {
            **os.environ,
            "PYTHONPATH": str(self.work / "site"),
            "PANNIER_CACHE": str(self.work / "cache"),
            "PANNIER_SOURCE": str(self.bundle / facts["source"]),
            "PANNIER_GPU_BACKEND": self.backend,
            "LD_LIBRARY_PATH": ":".join(filter(None, known)),
            **({"PANNIER_ENGINE": engine} if engine else {}),
        }

    def do(self, phase: str, *command: str) -> Outcome:
        """Run one command within what is left of its phase's and of the whole time."""
        left = self.deadline - time.monotonic()
        limit = min(self.limits[phase.split("-")[0]], left)
        log = self.work / f"{phase}.log"
        env = self.environment
        if limit < 5:
            outcome = Outcome(phase, list(command), 0.0, error="no time left for it")
        else:
            outcome = run(phase, command, limit_s=limit, log=log, env=env, cwd=self.project)
        self.outcomes.append(outcome)
        self.save()
        return outcome

    def python(self, phase: str, *arguments: str) -> Outcome:
        """Run this Python."""
        return self.do(phase, sys.executable, *arguments)

    def cannot(self, phase: str, why: str) -> None:
        """Record a phase that has nothing to run with."""
        self.outcomes.append(Outcome(phase, [], 0.0, error=why))
        self.save()

    def said(self, phase: str) -> str:
        """The last line that a phase printed on stdout."""
        lines = output_of(self.work / f"{phase}.log").read_text().strip().splitlines()
        return lines[-1] if lines else ""

    def keep(self, **state: str) -> None:
        """Remember something for later phases, also those of a later call."""
        self.state |= state
        (self.work / "state.json").write_text(json.dumps(self.state))

    def save(self) -> None:
        """Write the results file as far as it is."""
        phases = [asdict(outcome) | {"ok": outcome.ok} for outcome in self.outcomes]
        whole = self.results | {
            "seconds": round(sum(outcome.seconds for outcome in self.outcomes), 1),
            "ok": all(outcome.ok for outcome in self.outcomes),
            "phases": phases,
        }
        text = json.dumps(whole, indent=1)
        for folder, name in self.names.items():
            text = text.replace(json.dumps(folder)[1:-1], name)
        part = self.file.with_suffix(".part")
        part.write_text(text + "\n")
        part.replace(self.file)


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
    """The engine with llama.cpp's programs; where it is cheap, a stock one beside it."""
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
    # Without a compiler cache the stock engine would cost all that time once more.
    if shutil.which("ccache") and bench.python("build-stock", *command, "--unpatched").ok:
        bench.keep(stock=bench.said("build-stock"))


def tests(bench: Bench) -> None:
    """The tests marked gpu, in the engine that was built."""
    if "engine" not in bench.state:
        return bench.cannot("tests", "there is no engine to test")
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
        return bench.cannot("throughput", "there is no engine to measure")
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
        bench.python(f"throughput-{name}", *command, "--stream=yes", *bench.bench_options)
        bench.results["throughput"][name] = _read(out)
    return None


def engine_facts(directory: Path) -> dict[str, Any]:
    """What the engine is made of and what it weighs, from its manifest."""
    manifest = _read(directory / "manifest.json") or {}
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
    "throughput": throughput,
}


def facts(bench: Bench) -> dict[str, Any]:
    """What the results file says before the first phase."""
    packed = _read(bench.bundle / "bundle.json") or {}
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
    args = parser.parse_args(argv)
    bench = Bench(args.bundle, args.work, args.out, os.environ)
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


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found


def _limit(text: str) -> tuple[str, float]:
    """One `PHASE=SECONDS` of BENCH_LIMITS."""
    name, _, seconds = text.partition("=")
    return name, float(seconds)


if __name__ == "__main__":
    sys.exit(main())
