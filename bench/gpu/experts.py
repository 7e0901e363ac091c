"""The phase `experts`: a model of 80 billion parameters on 8 GB of the card, at its full size."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memory import attention, printed

if TYPE_CHECKING:
    from bench_run import Bench

MODEL = "qwen3-coder-next"
VRAM = {"cuda": "8G"}
VRAM_STAND_IN = "1G"
LAYERS_STAND_IN = "2"
FREE_BYTES = 52 << 30
"""What the whole file takes, and some."""


def experts(bench: Bench) -> None:
    """Rates of the machine, the file, the limit of the card's memory, and other placements."""
    if "engine" not in bench.state:
        return bench.fail("experts", "there is no engine to measure")
    found: dict[str, Any] = {"machine": None, "limit": None, "placements": None}
    bench.results["experts"] = found
    model = file(bench)
    if model is None:
        return None
    common = ("--vram", VRAM.get(bench.backend, VRAM_STAND_IN))
    flags = " ".join(attention(bench))
    command = ("-m", "pannier", "bench", "machine", "--disk", str(model), "--json")
    found["machine"] = printed(bench, bench.python("experts-machine", *command))
    options = (*common, f"--flags={flags}", *bench.options["experts"])
    limited = bench.python("experts-limit", "bench/gpu/limited.py", str(model), *options)
    found["limit"] = printed(bench, limited)
    out = bench.work / "experts.json"
    out.unlink(missing_ok=True)
    tools = Path(bench.state.get("stock", bench.state["engine"])) / "bin"
    command = ("bench/experts/run.py", "--model", str(model), "--backend", bench.backend)
    peer = ("--llama-server", str(tools / "llama-server"), "--out", str(out))
    software = () if bench.backend == "cuda" else ("--software",)
    bench.python("experts-placements", *command, *peer, *software, *options)
    if out.is_file():
        found["placements"] = json.loads(out.read_text())
    bench.save()
    return None


def file(bench: Bench) -> Path | None:
    """The model, made on this machine's disk; a stand-in gets two layers of it."""
    path = bench.work / "models" / f"{MODEL}-{bench.backend}.gguf"
    path.parent.mkdir(exist_ok=True)
    if path.is_file():
        return path
    is_whole = bench.backend == "cuda"
    free = shutil.disk_usage(path.parent).free
    if is_whole and free < FREE_BYTES:
        bench.fail(
            "experts",
            f"{path.parent} has {free >> 30} GiB free, and the model takes {FREE_BYTES >> 30}: "
            "name another folder in BENCH_WORK",
        )
        return None
    layers = () if is_whole else ("--layers", LAYERS_STAND_IN)
    command = ("-m", "pannier", "synth", MODEL, *layers, "-o", str(path))
    return path if bench.python("experts-synth", *command).ok else None
