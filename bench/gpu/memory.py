"""The phase `memory`: what is planned, allocated and in use on the device, of the benches' models
and of real models' headers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner import Outcome, output_of

if TYPE_CHECKING:
    from bench_run import Bench

Json = dict[str, Any]
MODELS = ("states", "small", "large")
REAL = ("nemotron-3-nano", "qwen3-coder-next", "kimi-linear")
CLIENTS = ("-np", "8", "--prompt", "2304", "--shared", "2048", "-n", "256", "-ub", "128")
N_CTX = {"cuda": 2**20}
"""Cells of the ledger's large context: on a card, so many that a driver's own share is small beside
them. The probe takes fewer where they do not fit."""
N_CTX_STAND_IN = 2**14


def memory(bench: Bench) -> None:
    """Strict placement; servers with 1 to 8 clients; owners beside the driver; real shapes."""
    if "engine" not in bench.state:
        return bench.fail("memory", "there is no engine to measure")
    found: Json = {"placement": {}, "clients": None, "ledger": {}, "plans": {}}
    bench.results["memory"] = found
    if (paths := models(bench)) is not None:
        placement(bench, paths, found["placement"])
        found["clients"] = clients(bench, paths["states"])
        ledger(bench, paths, found["ledger"])
    plans(bench, found["plans"])
    bench.save()
    return None


def models(bench: Bench) -> dict[str, Path] | None:
    """The benches' models by name."""
    tools = Path(bench.state.get("stock", bench.state["engine"])) / "bin"
    options = ("--out", str(bench.work / "models"), "--quantize", str(tools / "llama-quantize"))
    if not bench.python("memory-models", "bench/models.py", *options, *MODELS).ok:
        return None
    lines = output_of(bench.work / "memory-models.log").read_text().split()
    return dict(zip(MODELS, map(Path, lines), strict=True))


def placement(bench: Bench, paths: dict[str, Path], found: Json) -> None:
    """`pannier doctor` fails where an op would run elsewhere than where it was placed."""
    for name, path in paths.items():
        for flag in ("-ngl=all", "--cpu-moe"):
            phase = f"memory-doctor-{name}{flag.partition('=')[0]}"
            options = ("-np", "8", "-c", "8192", *attention(bench), flag)
            command = ("-m", "pannier", "doctor", str(path), "--json", *options)
            report = printed(bench, bench.python(phase, *command))
            found[f"{name} {flag}"] = report and {
                "flash_attn": report["flash_attn"],
                "problems": report["problems"],
                "graphs": {
                    graph["name"]: {
                        "splits": graph["n_splits"],
                        "ops": {device: sum(ops.values()) for device, ops in graph["ops"].items()},
                    }
                    for graph in report["graphs"]
                },
            }


def clients(bench: Bench, path: Path) -> Json | None:
    """1, 2, 4 and 8 clients with a common prefix, by plan, by allocations, by the driver."""
    options = (*CLIENTS, *attention(bench), "--strict", *bench.options["memory"])
    report = vram(bench, "memory-clients", path, *options)
    for wrong in unlike_the_plan(report or {}):
        bench.fail("memory-clients", wrong)
    return report


def unlike_the_plan(report: Json) -> Iterator[str]:
    """What was not allocated as planned."""
    for series in report.get("series", ()):
        for point in series["points"]:
            if difference := point["allocated_less_predicted"]:
                yield f"{point['n_clients']} clients: allocated less planned is {difference}"


def ledger(bench: Bench, paths: dict[str, Path], found: Json) -> None:
    """Owners beside the driver's figure for the process, all on the device and with the experts in
    system memory."""
    n_ctx = N_CTX.get(bench.backend, N_CTX_STAND_IN)
    flash = dict(zip(("flash_attn",), attention(bench)[1:], strict=False))
    for name, model in (("states", {}), ("large", {"experts": "cpu"})):
        work = {
            "path": str(paths[name]),
            "model": {"n_gpu_layers": -1, **model},
            "context": {"n_ctx": n_ctx, "n_parallel": 8, "n_batch": 32, **flash},
        }
        command = ("tests/gpu/probes.py", "ledger", json.dumps(work))
        found[name] = printed(bench, bench.python(f"memory-ledger-{name}", *command))


def plans(bench: Bench, found: Json) -> None:
    """Real shapes with a million tokens, from headers; beside them, where its engine was cheap to
    build, llama.cpp without its fix of the hybrid models' cache."""
    compare = ("--compare", "unfixed") if "unfixed" in bench.state else ()
    folder = bench.work / "headers"
    folder.mkdir(exist_ok=True)
    for name in REAL:
        path = folder / f"{name}.gguf"
        command = ("-m", "pannier", "synth", name, "--header-only", "--force", "-o", str(path))
        if not bench.python(f"memory-header-{name}", *command).ok:
            continue
        options = ("-np", "8", "-c", "1048576", "--plan-only", *compare)
        found[name] = vram(bench, f"memory-plan-{name}", path, *options)


def vram(bench: Bench, phase: str, path: Path, *options: str) -> Json | None:
    """The report of `pannier bench vram`."""
    command = ("-m", "pannier", "bench", "vram", str(path), "--json", *options)
    return printed(bench, bench.python(phase, *command))


def attention(bench: Bench) -> tuple[str, ...]:
    """Without flash attention where it takes a software driver down."""
    return ("-fa", "off") if bench.backend == "vulkan" else ()


def printed(bench: Bench, outcome: Outcome) -> Json | None:
    """The object that a command printed; None for one that did not get that far."""
    if outcome.status is None:
        return None
    try:
        found: Json = json.loads(output_of(bench.work / f"{outcome.phase}.log").read_text())
    except ValueError:
        return None
    return found
