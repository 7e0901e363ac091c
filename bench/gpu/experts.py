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
VRAM_STAND_IN = "32M"
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
    # a software driver ends in its kernels for batches of experts
    batches = () if bench.backend == "cuda" else ("-ub", "32", "-b", "32")
    flags = " ".join((*attention(bench), *batches))
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
    """The model at its full size, made on this machine's disk; for a stand-in a small one."""
    folder = bench.work / "models"
    folder.mkdir(exist_ok=True)
    if bench.backend != "cuda":
        made = bench.python("experts-model", "bench/models.py", "--out", str(folder), "experts")
        return Path(bench.said("experts-model")) if made.ok else None
    path = folder / f"{MODEL}.gguf"
    if path.is_file():
        return path
    if (free := shutil.disk_usage(folder).free) < FREE_BYTES:
        bench.fail(
            "experts",
            f"{folder} has {free >> 30} GiB free, and the model takes {FREE_BYTES >> 30}: name "
            "another folder in BENCH_WORK",
        )
        return None
    command = ("-m", "pannier", "synth", MODEL, "-o", str(path))
    return path if bench.python("experts-synth", *command).ok else None
