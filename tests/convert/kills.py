"""Kill conversions at random moments and look at what is left. Run by hand:

    python -m tests.convert.kills --kills 200 --checkpoint DIR [--folder DIR] [--seed N]

Each round converts over an older file or split set. A killer waits for a random report of the
conversion, then a random time, and sends SIGKILL to the converting process, its child, or both.
What is there afterwards must be the old files, the new ones, or (of a set) no first shard; never
a file that opens and is neither. DIR is best a checkpoint that takes some seconds to write, such
as bench/convert's with --gigabytes 0.5.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from pannier.convert import convert
from pannier.errors import ModelError
from pannier.modelfile import open_model_file

VICTIM = """
import os, random, signal, sys, threading, time
from pathlib import Path
from pannier.convert import convert
src, out, quant, split, seed, fraction = sys.argv[1:]
dice = random.Random(seed)
armed = threading.Event()

def kill():
    time.sleep(dice.random() * 0.4)
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    targets = dice.choice([["parent"], ["child"], ["child", "parent"]])
    for target in targets:
        for pid in children if target == "child" else [os.getpid()]:
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                pass

def watch(progress):
    if not armed.is_set() and progress.n_bytes >= float(fraction) * progress.plan.n_bytes:
        armed.set()
        threading.Thread(target=kill, daemon=True).start()

convert(src, out, quant=quant, split_experts=split == "1", on_progress=watch)
"""


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
    arguments = [src, folder / "m.gguf", new, int(split), dice.random(), fraction]
    command = [sys.executable, "-c", VICTIM, *map(str, arguments)]
    subprocess.run(command, capture_output=True, check=False)
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
