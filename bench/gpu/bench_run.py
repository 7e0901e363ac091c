"""One run of the phases: its folders, its environment, and its results file."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from runner import Outcome, output_of, run
from toolkit import Toolkit, find_toolkit

TOTAL_S = 570.0
"""All phases together, unless BENCH_TOTAL_S says otherwise."""
LIMITS_S = {"install": 90.0, "build": 480.0, "tests": 240.0, "memory": 120.0, "throughput": 240.0}
"""Each command of a phase, unless BENCH_LIMITS says otherwise."""
APART_S = {"experts": 1800.0}
"""The same of phases that run only where they are named: they want more disk and time."""
APART_TOTAL_S = 5400.0


class Bench:
    """One run: its folders, its environment, its results so far."""

    def __init__(self, bundle: Path, work: Path, out: Path, settings: Mapping[str, str]) -> None:
        self.bundle = bundle
        self.work = work
        self.project = work / "project"
        self.backend = settings.get("PANNIER_GPU_BACKEND", "cuda")
        self.wanted = settings.get("BENCH_PHASES", " ".join(LIMITS_S)).split()
        self.limits = (
            LIMITS_S
            | APART_S
            | dict(_limit(text) for text in settings.get("BENCH_LIMITS", "").split())
        )
        total = APART_TOTAL_S if APART_S.keys() & set(self.wanted) else TOTAL_S
        self.deadline = time.monotonic() + float(settings.get("BENCH_TOTAL_S", total))
        self.options = {
            name: settings.get(f"BENCH_{name.upper()}", "").split()
            for name in ("memory", "throughput", "experts")
        }
        self.outcomes: list[Outcome] = []
        self.results: dict[str, Any] = {}
        self.state = read_json(work / "state.json") or {}
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
        facts = read_json(self.bundle / "bundle.json") or {}
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

    def fail(self, phase: str, why: str) -> None:
        """Record what is wrong besides a command that failed."""
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


def read_json(path: Path) -> dict[str, Any] | None:
    """A file's object; None where there is none."""
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found


def _limit(text: str) -> tuple[str, float]:
    """One `PHASE=SECONDS` of BENCH_LIMITS."""
    name, _, seconds = text.partition("=")
    return name, float(seconds)
