"""Requests made of the OpenAPI document, valid and not, against a real server.

    python bench/fuzz_http/run.py --model MODEL.gguf [--minutes 5] [--out FILE.json]

schemathesis reads the server's own `/openapi.json` and checks each answer: no 5xx, the status,
the content type and the schema are described. Afterwards the server must be alive and idle, and
hold as much memory as after the first pass, in both processes and by its own count.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import date
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from machine import machine, revision
from peer import Server, pannier_command, running

HERE = Path(__file__).parent
CHECKS = (
    "no_failure",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
)
"""`no_failure` is ours (`hooks.py`). Not among them: that every valid body is answered and every
wrong one refused. What no schema tells (a grammar, a template, the tokens of the vocabulary, the
room in the context) decides that as well, and of a field's several names only the first that is
given is read."""
SETTLE_S = 30.0


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="GGUF")
    parser.add_argument("--minutes", type=float, default=5, help="of the second pass")
    parser.add_argument("--first", default="examples,coverage", help="phases of the first pass")
    parser.add_argument("--checks", default=",".join(CHECKS), help="of schemathesis")
    parser.add_argument("--workers", type=int, default=2, help="requests at once")
    parser.add_argument("--threads", type=int, default=1, help="of the engine")
    parser.add_argument("--flags", default="", help="more flags for the server")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--growth-mib", type=float, default=32, help="most memory to gain")
    parser.add_argument("--out", type=Path, help="JSON file of the results")
    return parser.parse_args(argv)


def get(server: Server, path: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=60) as answer:
        return json.load(answer)


def fuzz(server: Server, args: argparse.Namespace, *options: str) -> tuple[bool, str]:
    """One pass: whether all went well, and what schemathesis said."""
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run"),
        f"http://127.0.0.1:{server.port}/openapi.json",
        *("--checks", args.checks, "--workers", str(args.workers)),
        *("--seed", str(args.seed), "--generation-database", "none"),
        *("--output-sanitize", "false", "--output-truncate", "false"),
        *("--request-timeout", "60", "--continue-on-failure", "--no-color", "--warnings", "off"),
        *options,
    ]
    env = {**os.environ, "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(HERE)}
    answer = subprocess.run(
        command, env=env, capture_output=True, text=True, check=False, cwd=tempfile.gettempdir()
    )
    return answer.returncode == 0, answer.stdout + answer.stderr


def wait_until_idle(server: Server) -> bool:
    """Whether every slot is free soon after the last client has left."""
    deadline = time.monotonic() + SETTLE_S
    while time.monotonic() < deadline:
        if not any(slot["is_processing"] for slot in get(server, "/slots")):
            return True
        time.sleep(0.2)
    return False


def held(server: Server) -> dict[str, int]:
    """Bytes: resident in both processes, and as the engine counts what it holds."""
    memory = get(server, "/memory")
    return {
        "http_rss": rss_bytes(server.pid),
        "engine_rss": rss_bytes(get(server, "/props")["engine"]["pid"]),
        "engine_total": memory["total_bytes"],
        "cells_reserved": memory["kv"]["n_cells_reserved"],
        "clients": sum(row["id"] is not None for row in memory["clients"]),
    }


def rss_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def measure(server: Server, args: argparse.Namespace) -> dict[str, Any]:
    """Two passes, and what the server holds after each."""
    pid = get(server, "/props")["engine"]["pid"]
    first, said = fuzz(server, args, "--phases", args.first)
    idle = wait_until_idle(server)
    before = held(server)
    seconds = str(max(1, round(args.minutes * 60)))
    second, more = fuzz(server, args, "--phases", "fuzzing", "--max-time", seconds)
    idle = wait_until_idle(server) and idle
    after = held(server)
    return {
        "passed": first and second,
        "idle": idle,
        "same_engine": get(server, "/props")["engine"]["pid"] == pid,
        "before": before,
        "after": after,
        "said": said + more,
    }


def faults(result: dict[str, Any], growth_bytes: float) -> list[str]:
    """What was wrong; empty if nothing was."""
    found = [] if result["passed"] else ["schemathesis found failures"]
    found += [] if result["idle"] else ["slots stayed busy"]
    found += [] if result["same_engine"] else ["the engine ended"]
    for name in ("http_rss", "engine_rss", "engine_total"):
        grown = result["after"][name] - result["before"][name]
        if grown > growth_bytes:
            found.append(f"{name} grew by {grown / 2**20:.1f} MiB")
    found += [f"{name} left" for name in ("cells_reserved", "clients") if result["after"][name]]
    return found


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    flags = ["-m", args.model, "-np", "4", "-c", "1024", "-t", str(args.threads)]
    with tempfile.TemporaryDirectory() as scratch:
        log, slots = Path(scratch) / "pannier.log", Path(scratch) / "slots"
        slots.mkdir()
        flags += ["--cache-ram", "8", "--metrics", "--props", "--slot-save-path", str(slots)]
        command = pannier_command("serve", *flags, *args.flags.split())
        with running("pannier", command, log) as server:
            result = measure(server, args)
        told = log.read_text()
    found = faults(result, args.growth_mib * 2**20)
    found += ["a traceback in the server's log"] if "Traceback" in told else []
    said = result.pop("said")
    report = {
        "bench": "fuzz_http",
        "date": date.today().isoformat(),
        "revision": revision(),
        "machine": machine(),
        "model": Path(args.model).name,
        "minutes": args.minutes,
        **result,
        "faults": found,
    }
    print(said + told if found else said[-1500:])
    print(json.dumps(report, indent=1))
    if args.out:
        args.out.write_text(json.dumps(report, indent=1) + "\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
