"""Kill conversions at random moments and look at what is left. Run by hand:

    python -m tests.convert.kills --kills 200 --checkpoint DIR [--folder DIR] [--seed N]

Each round converts over an older file or split set. A killer waits for a random report of the
conversion, then a random time, and sends SIGKILL to the converting process, its child, or both.
What is there afterwards must be the old files, the new ones, or (of a set) no first shard; never
a file that opens and is neither. DIR is best a checkpoint of some 50 MB, which is written in about
a second. Processes are forked from one that has imported torch and upstream's code already:
what happens before that writes nothing.
"""

# ruff: noqa: E402
from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from pannier.engine import source_tree

sys.path[:0] = [str(source_tree()), str(source_tree() / "gguf-py")]  # as the child process has it

from pannier.convert import ConvertProgress, conversion_run, convert, converter
from pannier.convert._worker import reported_errors
from pannier.convert.converter import Request
from pannier.convert.job import Job
from pannier.convert.reports import Reporter
from pannier.errors import ModelError
from pannier.modelfile import open_model_file


class Worker:
    """The converting child, forked from a process that has imported everything; as Popen."""

    def __init__(self, request: Request, folder: Path, writer: int) -> None:
        self.returncode = 0
        self.pid = os.fork()
        if self.pid == 0:
            job = Job(
                tree="",
                checkpoint=str(request.checkpoint.folder),
                folder=str(folder),
                file_name=request.file_name,
                precision=request.precision,
                options=request.options,
                dry_run=False,
                reports=writer,
            )
            report = Reporter(writer)
            try:
                with reported_errors(job, report):
                    conversion_run.run(job, report)
            finally:
                os._exit(0)

    def wait(self) -> int:
        with suppress(ChildProcessError):
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


def convert_and_be_killed(request: Request, dice: random.Random, fraction: float) -> None:
    """Convert; once `fraction` of the bytes is reported, a random time later, SIGKILL."""
    workers: list[Worker] = []
    armed = threading.Event()

    def start(request: Request, folder: Path, log: object, writer: int) -> Worker:
        workers.append(Worker(request, folder, writer))
        return workers[0]

    def kill() -> None:
        time.sleep(dice.random() * 0.3)
        pids = {"child": workers[0].pid, "parent": os.getpid()}
        for target in dice.choice([["parent"], ["child"], ["child", "parent"]]):
            with suppress(ProcessLookupError):
                os.kill(pids[target], signal.SIGKILL)

    def watch(progress: ConvertProgress) -> None:
        if not armed.is_set() and progress.n_bytes >= fraction * progress.plan.n_bytes:
            armed.set()
            threading.Thread(target=kill, daemon=True).start()

    converter.start = start  # type: ignore[assignment]
    converter.run(request, watch)


def digest(files: list[Path]) -> str:
    """One sum over the files that a load would read."""
    total = hashlib.sha256()
    for file in files:
        total.update(file.read_bytes())
    return total.hexdigest()


def what_is_there(first: Path) -> str:
    """The sum of the files that open, "none" without a first file, "refused" if they do not."""
    if not first.exists():
        return "none"
    try:
        return digest(list(open_model_file(first).shards))
    except ModelError:
        return "refused"


class Results:
    """What undisturbed conversions give, each made once."""

    def __init__(self, src: Path, folder: Path) -> None:
        self._src, self._folder = src, folder
        self._files: dict[tuple[str, bool], list[Path]] = {}

    def files(self, quant: str, split: bool) -> list[Path]:
        if (quant, split) not in self._files:
            folder = self._folder / f"{quant}-{split}"
            folder.mkdir()
            first = convert(self._src, folder / "m.gguf", quant=quant, split_experts=split)
            self._files[quant, split] = list(open_model_file(first).shards)
        return self._files[quant, split]

    def digest(self, quant: str, split: bool) -> str:
        return digest(self.files(quant, split))


def round_of(dice: random.Random, src: Path, folder: Path, results: Results) -> str:
    """One kill; returns what was found."""
    split = dice.random() < 0.5
    old, new = dice.sample(["Q8_0", "Q4_0"], 2)
    names = {results.digest(old, split): "old", results.digest(new, split): "new"}
    for file in results.files(old, split):
        shutil.copy(file, folder / file.name)
    first = folder / results.files(old, split)[0].name
    # most of the interesting moments are near the end
    fraction = dice.choice([0.0, dice.random(), 1.0])
    request = converter.make_request(src, folder / "m.gguf", quant=new, split_experts=split)
    pid = os.fork()
    if pid == 0:
        try:
            convert_and_be_killed(request, dice, fraction)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    result = names.get(found := what_is_there(first), found)
    if result == "none" and not split:
        raise AssertionError("a single file is gone")
    if result not in ("old", "new", "none", "refused"):
        raise AssertionError(f"a file that opens and is neither the old nor the new one: {first}")
    return f"{'set' if split else 'file'}: {result}"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    dice = random.Random(args.seed)
    found = Counter[str]()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        work, kept = Path(folder) / "work", Path(folder) / "kept"
        work.mkdir()
        kept.mkdir()
        results = Results(args.checkpoint, kept)
        for _ in range(args.kills):
            found[round_of(dice, args.checkpoint, work, results)] += 1
            sys.stdout.write(f"\r{found.total()}: {dict(found)}")
            sys.stdout.flush()
    sys.stdout.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
