"""What checking a model file costs of its load: each load in a process of its own.

    python bench/load/validate.py [--dir DIR] [--gigabytes 5] [--out FILE.json]

Three files: a real vocabulary of 152k tokens and as many merges (from llama.cpp's tree), a small
model with 152k tokens and 1,500 tensors, and a large one of the same make. Files are in the page
cache ("warm") or have been dropped from it ("cold").
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

from pannier.convert.byte_vocabulary import N_FIXED, ByteVocabulary, made_up_words
from pannier.convert.random_gguf import Qwen3NextSpec, write_random
from pannier.engine import source_tree

N_VOCAB = 151936
ONE_LOAD = """
import json, os, sys, time
import pannier
from pannier import _ffi, model
path, mode, cold = sys.argv[1:]
_ffi.library()
spent = []
check = model.open_model_file
def timed(path):
    begin = time.perf_counter(), time.process_time()
    file = check(path)
    spent.extend((time.perf_counter() - begin[0], time.process_time() - begin[1]))
    return file
model.open_model_file = timed
if cold == "cold":
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
options = {"vocab_only": True} if mode == "vocabulary" else {"load_mode": mode}
begin = time.perf_counter(), time.process_time()
with pannier.Model(path, **options):
    total = time.perf_counter() - begin[0], time.process_time() - begin[1]
print(json.dumps(dict(zip(("wall_s", "cpu_s", "check_wall_s", "check_cpu_s"), (*total, *spent)))))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dir", type=Path, default=Path("/tmp"), help="folder for the files")
    parser.add_argument("--gigabytes", type=float, default=5, help="of the large file")
    parser.add_argument("--loads", type=int, default=5, help="of each file in each way")
    parser.add_argument("--out", type=Path, help="JSON file of the results")
    args = parser.parse_args()
    vocabulary = source_tree() / "models" / "ggml-vocab-qwen2.gguf"
    small, large = model(args.dir, 0.03), model(args.dir, args.gigabytes)
    cases = [(vocabulary, "vocabulary"), (small, "mmap"), (small, "none"), (large, "mmap")]
    result: dict[str, Any] = {"bench": "load/validate", "date": str(date.today()), **environment()}
    result["rows"] = []
    for path, mode in cases:
        for cache in ("warm", "cold"):
            result["rows"].append(measure(path, mode, cache, args.loads))
            if args.out:
                args.out.write_text(json.dumps(result, indent=1) + "\n")
    return 0


def model(folder: Path, gigabytes: float) -> Path:
    """A random-weight model of about that size with the vocabulary's size of Qwen's."""
    large = gigabytes > 1
    n_ff = max(32, int(gigabytes * 1e9 / (48 * 32 * 3 * 1024 * 2)) // 32 * 32)
    spec = Qwen3NextSpec(
        name=f"pannier bench, {gigabytes} GB random weights",
        n_embd=1024 if large else 64,
        n_layer=48 if large else 88,
        n_head=8 if large else 2,
        n_head_kv=2 if large else 1,
        head_dim=128 if large else 64,
        ssm_head_dim=128 if large else 32,
        ssm_k_heads=4 if large else 2,
        ssm_v_heads=8 if large else 2,
        n_expert=32 if large else 4,
        n_expert_used=8 if large else 2,
        n_ff_exp=n_ff if large else 32,
        vocabulary=ByteVocabulary(tuple(made_up_words(N_VOCAB - N_FIXED))),
        tied=True,
    )
    path = folder / f"pannier-load-{gigabytes:g}gb.gguf"
    return path if path.exists() else write_random(path, spec)


def measure(path: Path, mode: str, cache: str, n: int) -> dict[str, Any]:
    """Medians over n loads, after one that is not counted."""
    loads = [one_load(path, mode, cache) for _ in range(n + 1)][1:]
    row: dict[str, Any] = {"file": path.name, "bytes": path.stat().st_size, "load": mode}
    row |= {"page_cache": cache}
    row |= {key: round(statistics.median(load[key] for load in loads), 5) for key in loads[0]}
    row["share"] = round(row["check_wall_s"] / row["wall_s"], 4)
    row["share_of_cpu"] = round(row["check_cpu_s"] / row["cpu_s"], 4)
    sys.stdout.write(
        f"{row['file']:<28}{mode:<12}{cache:<6}"
        f"load {1000 * row['wall_s']:8.1f} ms  check {1000 * row['check_wall_s']:6.1f} ms  "
        f"{100 * row['share']:5.2f} % (of CPU time {100 * row['share_of_cpu']:5.2f} %)\n"
    )
    sys.stdout.flush()
    return row


def one_load(path: Path, mode: str, cache: str) -> dict[str, float]:
    command = [sys.executable, "-c", ONE_LOAD, str(path), mode, cache]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return dict(json.loads(answer.splitlines()[-1]))


def environment() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    revision = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    machine = {
        "cpu": names[0] if names else "",
        "cores": os.cpu_count(),
        "kernel": platform.release(),
    }
    return {
        "revision": revision.stdout.strip(),
        "llama.cpp": "b11549",
        "machine": {**machine, "python": platform.python_version()},
    }


if __name__ == "__main__":
    sys.exit(main())
