"""Run one command within a time limit, keep its output, leave no process behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

LAST_LINES = 40
GRACE_S = 15.0
"""From asking a command to stop to making it: a build removes its half-made files."""


@dataclass
class Outcome:
    """One command, and how it ended."""

    phase: str
    command: list[str]
    limit_s: float
    seconds: float = 0.0
    status: int | None = None
    """None: never started, or stopped at its limit."""
    error: str = ""
    last_lines: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return self.status == 0


def run(
    phase: str,
    command: Sequence[str],
    *,
    limit_s: float,
    log: Path,
    env: Mapping[str, str],
    cwd: Path,
) -> Outcome:
    """Run `command`; stdout and stderr go to `log`, what it printed on stdout also to `log`.out."""
    outcome = Outcome(phase, list(command), round(limit_s, 1))
    say(f"{phase}: {' '.join(command)}")
    start = time.monotonic()
    try:
        with log.open("wb") as errors, output_of(log).open("wb") as output:
            _run(outcome, env, cwd, output, errors)
    except OSError as error:
        outcome.error = str(error)
    outcome.seconds = round(time.monotonic() - start, 1)
    if not outcome.ok:
        text = log.read_text(errors="replace") + output_of(log).read_text(errors="replace")
        outcome.last_lines = text.splitlines()[-LAST_LINES:]
    say(f"{phase}: {outcome.error or f'status {outcome.status}'} after {outcome.seconds} s")
    return outcome


def output_of(log: Path) -> Path:
    """Where the stdout of the command with that log is kept."""
    return log.with_suffix(".out")


def say(message: str) -> None:
    """One line of chatter."""
    print(f"[{time.strftime('%H:%M:%S')}] {message}", file=sys.stderr, flush=True)


def _run(
    outcome: Outcome, env: Mapping[str, str], cwd: Path, output: IO[bytes], errors: IO[bytes]
) -> None:
    process = subprocess.Popen(
        outcome.command,
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=errors,
        start_new_session=True,
    )
    try:
        outcome.status = process.wait(outcome.limit_s)
    except subprocess.TimeoutExpired:
        outcome.error = f"stopped at its limit of {outcome.limit_s:.0f} s"
    finally:
        _end_group(process)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
