"""Experts: where they are, how fast that is, and what it takes.

python bench/experts/run.py --larger-than-ram --limit 6G --out FILE
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from larger_than_ram import larger_than_ram
from machine import machine, revision
from synthetic import ensure_synthetic

from pannier.server.flags.values import sizes


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="GGUF; default: 12 layers of Qwen3-Coder-Next, made here")
    parser.add_argument("--larger-than-ram", action="store_true", help="under a limit of memory")
    parser.add_argument("--limit", type=size, default=6 << 30, help="of memory, as 6G (default)")
    parser.add_argument("--tokens", type=int, default=150, help="of each turn (default: 150)")
    parser.add_argument(
        "--peer-tokens", type=int, default=30, help="of llama-server's (default: 30)"
    )
    parser.add_argument("--turns", type=int, default=3, help="beside the first (default: 3)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, help="JSON file of the results")
    return parser.parse_args(argv)


def size(text: str) -> int:
    """As --vram reads it."""
    return sizes(text)[0]


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    args.model = args.model or str(ensure_synthetic("qwen3-coder-next", 12))
    report = {
        "bench": "experts",
        "mode": "larger than RAM",
        "date": date.today().isoformat(),
        "revision": revision(),
        "llama.cpp": "b11549",
        "machine": machine(),
        **larger_than_ram(args),
    }
    if args.out:
        args.out.write_text(json.dumps(report, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
