"""pannier convert against upstream's two steps: wall time, memory, disk.

The same checkpoint, the same recipe, in one run and in turns: upstream's convert_hf_to_gguf.py
to BF16 and then llama-quantize, both of the pin and without patches, against one
`pannier convert`. The page cache is warmed by reading the checkpoint before each.

    python bench/convert/run.py --folder /tmp/bench-convert --gigabytes 4 --pairs 3
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from datetime import date
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from checkpoint import EXPERT_FF, EXPERTS, HIDDEN, write_checkpoint
from machine import machine, revision
from peer import pannier_command
from watch import Watched, watch

from pannier.engine import BuildOptions, Engine, ensure_engine, source_tree

PATCHED_HASH = """
import runpy, sys
from pathlib import Path
script = Path(sys.argv[1])
sys.argv = sys.argv[1:]
sys.path[:0] = [str(script.parent), str(script.parent / "gguf-py")]
import conversion
conversion.TextModel.get_vocab_base_pre = lambda self, tokenizer: "qwen2"
runpy.run_path(str(script), run_name="__main__")
"""
"""Upstream's script does not know the tiny tokenizer by its hash; nothing else is changed."""

LARGEST_F32 = 4 * EXPERTS * EXPERT_FF * HIDDEN


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--folder", type=Path, required=True, help="room for about four times as much"
    )
    parser.add_argument("--gigabytes", type=float, default=4.0, help="of the checkpoint")
    parser.add_argument("--recipe", default="Q4_K_M")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--out", type=Path)
    return parser.parse_args(argv)


def read_through(folder: Path) -> None:
    """Have the checkpoint in the page cache."""
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            while file.read(16 << 20):
                pass


def two_steps(src: Path, work: Path, recipe: str, tools: Engine) -> dict[str, Any]:
    """Upstream: convert to BF16, then quantise."""
    whole, out = work / "whole.gguf", work / "upstream.gguf"
    script = str(source_tree() / "convert_hf_to_gguf.py")
    convert = [sys.executable, "-c", PATCHED_HASH, script, str(src)]
    first = watch([*convert, "--outfile", str(whole), "--outtype", "bf16"], work)
    quantize = str(tools.directory / "bin" / "llama-quantize")
    libraries = {"LD_LIBRARY_PATH": str(tools.directory / "lib")}
    second = watch([quantize, str(whole), str(out), recipe], work, libraries)
    found = {
        "wall_s": first.wall_s + second.wall_s,
        "steps": [step.as_dict() for step in (first, second)],
        "peak_rss_bytes": max(first.peak_rss_bytes, second.peak_rss_bytes),
        "peak_disk_bytes": whole.stat().st_size + out.stat().st_size,
        "file_bytes": out.stat().st_size,
    }
    whole.unlink()
    out.unlink()
    return found


def one_pass(src: Path, work: Path, recipe: str) -> dict[str, Any]:
    """pannier."""
    out = work / "pannier.gguf"
    command = pannier_command(
        "convert", str(src), "-o", str(out), "--quant", recipe, "--experts", "cpu"
    )
    found: Watched = watch(command, work)
    size = out.stat().st_size
    out.unlink()
    return found.as_dict() | {"file_bytes": size}


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    tools = ensure_engine(BuildOptions(backend="cpu", unpatched=True, tools=True))
    src = write_checkpoint(args.folder / f"moe-{args.gigabytes:g}gb", int(args.gigabytes * 1e9))
    work = args.folder / "work"
    work.mkdir(exist_ok=True)
    pairs = []
    for number in range(args.pairs):
        turns = [
            lambda: two_steps(src, work, args.recipe, tools),
            lambda: one_pass(src, work, args.recipe),
        ]
        rows: list[Any] = [None, None]
        for which in (0, 1) if number % 2 == 0 else (1, 0):
            read_through(src)
            rows[which] = turns[which]()
        pairs.append(
            {
                "upstream": rows[0],
                "pannier": rows[1],
                "ratio": rows[1]["wall_s"] / rows[0]["wall_s"],
            }
        )
        show(pairs[-1])
    report = {
        "bench": "convert",
        "date": date.today().isoformat(),
        "commit": revision(),
        "machine": machine(),
        "recipe": args.recipe,
        "checkpoint_bytes": sum(path.stat().st_size for path in src.glob("*.safetensors")),
        "largest_tensor_f32_bytes": LARGEST_F32,
        "wall_ratio": statistics.median(pair["ratio"] for pair in pairs),
        "peak_rss_bytes": max(pair["pannier"]["peak_rss_bytes"] for pair in pairs),
        "peak_rss_less_largest_tensor_bytes": max(p["pannier"]["peak_rss_bytes"] for p in pairs)
        - LARGEST_F32,
        "pairs": pairs,
    }
    if args.out:
        args.out.write_text(json.dumps(report, indent=2) + "\n")
    return 0


def show(pair: dict[str, Any]) -> None:
    for name in ("upstream", "pannier"):
        row = pair[name]
        print(
            f"{name:9s} {row['wall_s']:7.1f} s, {row['peak_rss_bytes'] / 1e9:.2f} GB resident, "
            f"{row['peak_disk_bytes'] / 1e9:.2f} GB on disk",
            flush=True,
        )
    print(f"ratio     {pair['ratio']:7.3f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
