"""Experts: where they are, how fast that is, and what it takes.

    python bench/experts/run.py --backend cuda --vram 8G --model q.gguf --out FILE
    python bench/experts/run.py --larger-than-ram --limit 6G --out FILE

The first compares placements for 1 and 8 clients; the second runs a model in less memory than it
takes. Run `pannier bench machine` before, so that rooflines and predictions are this machine's.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from datetime import date
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from chart import write_chart
from larger_than_ram import larger_than_ram
from machine import machine, revision
from placements import placements
from synthetic import ensure_synthetic

from pannier.server.flags.values import sizes


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--model", help="GGUF; default: 12 layers of Qwen3-Coder-Next, made here")
    add("--out", type=Path, help="JSON file of the results; a chart is put beside it")
    add("--threads", type=int, default=os.cpu_count() or 1)
    add("--turns", type=int, default=3, help="of each server, beside a first (default: 3)")
    add("--llama-server", help="binary; default: the stock engine's, built if absent")
    places = parser.add_argument_group("placements")
    add = places.add_argument
    add("--backend", default="cuda", help="cuda, vulkan ... (default: cuda)")
    add("--software", action="store_true", help="say that the device is a software driver")
    add("--vram", dest="vram_text", default="8G", help="of the device (default: 8G)")
    add("--clients", default="1,8", help="numbers of clients (default: 1,8)")
    add("--prompt", type=int, default=32, help="tokens of each prompt (default: 32)")
    add("--predict", type=int, default=256, help="tokens to generate (default: 256)")
    add("--vocab", type=int, default=250, help="draw prompt tokens below this id")
    add("--flags", default="", help="more flags for both servers, such as '-fa off'")
    larger = parser.add_argument_group("larger than RAM")
    add = larger.add_argument
    add("--larger-than-ram", action="store_true", help="under a limit of memory")
    add("--limit", type=size, default=6 << 30, help="of memory, as 6G (default)")
    add("--tokens", type=int, default=50, help="of each text (default: 50)")
    add("--texts", type=int, default=6, help="of each turn (default: 6)")
    add("--peer-tokens", type=int, default=10, help="of llama-server's one text (default: 10)")
    args = parser.parse_args(argv)
    args.vram = size(args.vram_text)
    return args


def size(text: str) -> int:
    """As --vram reads it."""
    return sizes(text)[0]


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    # a run that is told to stop takes its servers along
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    args.model = args.model or str(ensure_synthetic("qwen3-coder-next", 12))
    args.llama_server = args.llama_server or stock_server(args)
    report: dict[str, Any] = {
        "bench": "experts",
        "mode": "larger than RAM" if args.larger_than_ram else "placements",
        "date": date.today().isoformat(),
        "revision": revision(),
        "llama.cpp": "b11549",
        "machine": machine(),
        "llama_server": Path(args.llama_server).parents[1].name,
    }
    report |= larger_than_ram(args) if args.larger_than_ram else placements(args)
    if args.out:
        args.out.write_text(json.dumps(report, indent=1) + "\n")
        write_chart(report, args.out.with_suffix(".svg"))
    return 0


def stock_server(args: argparse.Namespace) -> str:
    """llama-server of the same pin and backend, without our patches where it builds without."""
    from pannier.engine import BuildOptions, ensure_engine
    from pannier.errors import EngineError

    backend = "cpu" if args.larger_than_ram else args.backend
    try:
        engine = ensure_engine(BuildOptions(backend=backend, unpatched=True, tools=True))
    except EngineError:
        engine = ensure_engine(BuildOptions(backend=backend, tools=True))
    return str(engine.directory / "bin" / "llama-server")


if __name__ == "__main__":
    sys.exit(main())
