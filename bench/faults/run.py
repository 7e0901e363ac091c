"""Kill the engine of a loaded server again and again; check every answer, memory and time.

    python bench/faults/run.py --model MODEL.gguf [--deaths 50] [--out FILE.json]

SIGKILL and SIGABRT take turns, at random moments, while clients send greedy, seeded and free
requests, streamed and whole. First the same load runs undisturbed: greedy tokens of a batch can
differ from those of a request alone, and that is no fault.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import signal
import statistics
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).parents[1]))

from clients import Crowd, alone, cases, connect, first_answer_s
from machine import machine, revision
from peer import Server, pannier_command, running

SIGNALS = (signal.SIGKILL, signal.SIGABRT)


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="GGUF")
    parser.add_argument("--deaths", type=int, default=50)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--prompts", type=int, default=4, help="different prompts")
    parser.add_argument("--predict", type=int, default=64, help="tokens to generate")
    parser.add_argument("--vocab", type=int, default=250, help="draw prompt tokens below this id")
    parser.add_argument("--undisturbed", type=float, default=20, help="seconds of load before")
    parser.add_argument("--longest", type=float, default=2, help="most seconds until a death")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of the engine")
    parser.add_argument("--flags", default="", help="more flags for the server")
    parser.add_argument("--out", type=Path, help="JSON file of the results")
    return parser.parse_args(argv)


def flags(args: argparse.Namespace) -> list[str]:
    """One slot more than clients, for the request that asks whether the server is back."""
    n_slots = args.clients + 1
    n_ctx = n_slots * (128 + args.predict + 64)
    sizes = ["-np", str(n_slots), "-c", str(n_ctx), "-t", str(args.threads)]
    return ["-m", args.model, *sizes, *args.flags.split()]


def process_facts(pid: int) -> dict[str, int]:
    """What a leak would show in."""
    status = Path(f"/proc/{pid}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return {
        "rss_kib": int(fields["VmRSS"].split()[0]),
        "threads": int(fields["Threads"]),
        "files": len(list(Path(f"/proc/{pid}/fd").iterdir())),
    }


async def engine_pid(http: httpx.AsyncClient) -> int:
    while (await http.get("/health")).status_code != 200:
        await asyncio.sleep(0.01)
    return int((await http.get("/props")).json()["engine"]["pid"])


async def deaths(
    server: Server, http: httpx.AsyncClient, crowd: Crowd, args: argparse.Namespace
) -> list[Any]:
    """One row for each death."""
    rng = random.Random(2)
    rows = []
    for number in range(args.deaths):
        pid = await engine_pid(http)
        fresh = process_facts(pid)
        n_complete = crowd.n_complete
        while crowd.n_complete == n_complete:  # so that no three deaths are in a row
            await asyncio.sleep(0.01)
        await asyncio.sleep(rng.uniform(0, args.longest))
        row = {
            "signal": SIGNALS[number % 2].name,
            "http": process_facts(server.pid),
            "engine_at_start": fresh,
            "engine_at_end": process_facts(pid),
        }
        os.kill(pid, SIGNALS[number % 2])
        row["next_answer_s"] = round(await first_answer_s(http), 3)
        rows.append(row)
        show(number, row)
    return rows


def show(number: int, row: dict[str, Any]) -> None:
    print(
        f"{number + 1:3d} {row['signal']}: next answer after {row['next_answer_s']:.2f} s; "
        f"KiB: http {row['http']['rss_kib']}, engine {row['engine_at_end']['rss_kib']}; "
        f"http threads {row['http']['threads']}, files {row['http']['files']}",
        flush=True,
    )


async def measure(server: Server, args: argparse.Namespace) -> dict[str, Any]:
    url = f"http://127.0.0.1:{server.port}"
    expected = await alone(url, cases(args.prompts, args.predict, args.vocab))
    before = Crowd(url, args.predict, expected)
    pause = asyncio.create_task(asyncio.sleep(args.undisturbed))
    await before.run(args.clients, pause)
    idle = [process_facts(server.pid)]
    crowd = Crowd(url, args.predict, expected)
    begin = time.monotonic()
    async with connect(url) as http:
        killing = asyncio.create_task(deaths(server, http, crowd, args))
        await crowd.run(args.clients, killing)
        await first_answer_s(http)
    idle.append(process_facts(server.pid))
    rows = killing.result()
    waits = [row["next_answer_s"] for row in rows]
    return {
        "seconds": round(time.monotonic() - begin, 1),
        "undisturbed": dict(sorted(before.ends.items())),
        "answers": dict(sorted(crowd.ends.items())),
        "errors": dict(crowd.errors.most_common()),
        "dropped": sum(n for end, n in crowd.ends.items() if end.endswith("dropped")),
        "http_idle_before_and_after": idle,
        "next_answer_s": {"median": statistics.median(waits), "longest": max(waits)},
        "deaths": rows,
    }


def told(log: str, what: str) -> dict[str, float]:
    """A time that the server told of its engines."""
    found = [float(one) for one in re.findall(what, log)]
    return {"median": statistics.median(found), "longest": max(found)}


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    with tempfile.TemporaryDirectory() as scratch:
        log = Path(scratch) / "pannier.log"
        with running("pannier", pannier_command("serve", *flags(args)), log) as server:
            try:
                result = asyncio.run(measure(server, args))
            except RuntimeError as error:
                sys.exit(f"{error}; the server said:\n{log.read_text()[-4000:]}")
        said = log.read_text()
    report = {
        "bench": "faults",
        "date": date.today().isoformat(),
        "revision": revision(),
        "llama.cpp": "b11549",
        "machine": machine(),
        "model": Path(args.model).name,
        "bytes": Path(args.model).stat().st_size,
        "flags": " ".join(flags(args)[2:]),
        "clients": args.clients,
        "load_s": told(said, r"loaded in ([0-9.]+) s"),
        "back_s": told(said, r"is back: ([0-9.]+) s"),
        **result,
    }
    print(json.dumps({key: value for key, value in report.items() if key != "deaths"}, indent=1))
    if args.out:
        args.out.write_text(json.dumps(report, indent=1) + "\n")
    return 0 if report["dropped"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
