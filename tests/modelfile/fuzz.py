"""Fuzzing of the validator, and of llama.cpp's loader behind it; run by hand.

    python -m tests.modelfile.fuzz --seconds 600 [--seed 1] [--atheris] [FILE ...]

Mutants of the tiny models (`mutations.py`) go to `open_model_file`: whatever comes out but a
ModelFile or a ModelError is a finding. Each file that it accepts is loaded by the engine in a
child process, in several ways, and used a little; a child that ends by a signal is a finding.
Findings are kept in --keep. `--atheris` lets coverage choose among the mutants (pip install
atheris); without it they are drawn at random.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import signal
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

if "--atheris" in sys.argv:
    import atheris

    with atheris.instrument_imports(include=["pannier.modelfile"]):
        import pannier.modelfile

import pannier
from pannier import ModelError, PannierError, _ffi
from pannier.modelfile import open_model_file

from .gguf_bytes import Gguf
from .mutations import mutate, mutate_bytes

DATA = Path(__file__).parents[1] / "data"
MAX_MEMORY = 8 << 30
MAX_SECONDS = 60
LOADED, REFUSED = 0, 10


def main() -> int:
    args = parse()
    args.keep.mkdir(parents=True, exist_ok=True)
    os.environ["GGML_NO_BACKTRACE"] = "1"
    _ffi.library()
    fuzzer = Fuzzer(args.files or sorted(DATA.rglob("*.gguf")), args.keep)
    (run_atheris if args.atheris else run_random)(fuzzer, args)
    sys.stdout.write(f"{fuzzer.report()}\n")
    return 1 if fuzzer.counts["crashes"] else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--atheris", action="store_true")
    parser.add_argument("--keep", type=Path, default=Path("findings"))
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    return parser.parse_args()


class Fuzzer:
    """Counts of what became of the mutants."""

    def __init__(self, files: list[Path], keep: Path) -> None:
        self.files = [Gguf.read(path) for path in files]
        self.keep = keep
        self.path = keep / "mutant.gguf"
        self.log = keep / "child.log"
        self.counts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()

    def mutant(self, rng: random.Random) -> bytes:
        return mutate(rng, deepcopy(rng.choice(self.files)))

    def try_file(self, data: bytes) -> None:
        """One execution."""
        self.counts["executions"] += 1
        self.path.write_bytes(data)
        try:
            open_model_file(self.path)
        except ModelError:
            return
        except Exception as error:
            self.found(f"{type(error).__name__}: {error}")
            return
        self.counts["accepted"] += 1
        status = in_child(lambda: load(self.path), self.log)
        if os.WIFSIGNALED(status):
            self.found(signal.Signals(os.WTERMSIG(status)).name)
        elif os.WEXITSTATUS(status) == LOADED:
            self.counts["loaded"] += 1
        elif os.WEXITSTATUS(status) == REFUSED:
            self.counts["refused by the engine"] += 1
        else:
            self.found(f"status {os.WEXITSTATUS(status)}")

    def found(self, what: str) -> None:
        self.counts["crashes"] += 1
        self.reasons[what] += 1
        name = f"{what.split(':')[0].replace(' ', '-')}-{self.counts['crashes']}"
        self.path.rename(self.keep / f"{name}.gguf")
        if self.log.exists():
            self.log.rename(self.keep / f"{name}.log")

    def report(self) -> str:
        counts = ", ".join(f"{count} {name}" for name, count in self.counts.items())
        return f"{counts}; {dict(self.reasons)}"


def in_child(function: Callable[[], int], log: Path) -> int:
    """Status of a child that runs a function within bounds; what it says goes to `log`."""
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    for number in (signal.SIGABRT, signal.SIGSEGV, signal.SIGFPE, signal.SIGALRM, signal.SIGBUS):
        signal.signal(number, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(MAX_SECONDS)
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    status = 99
    try:
        status = function()
    finally:
        os._exit(status)


def load(path: Path) -> int:
    """Load a file in every way and use it; whether any way worked."""
    outcomes = [
        attempt(path, vocab_only=True),
        attempt(path, load_mode="mmap"),
        attempt(path, load_mode="none", check_tensors=True),
    ]
    return LOADED if any(outcomes) else REFUSED


def attempt(path: Path, **options: Any) -> bool:
    try:
        with pannier.Model(path, **options) as model:
            use(model, options.get("vocab_only", False))
        return True
    except PannierError as error:
        os.write(2, f"{options}: {error}\n".encode())
        return False


def use(model: pannier.Model, vocab_only: bool) -> None:
    tokens = model.tokenize("Hello <0x0A>\nworld", parse_special=True)
    model.detokenize([token for token in tokens if 0 <= token < model.n_vocab])
    _ = model.metadata, model.eog_tokens, model.description
    try:
        model.apply_chat_template([{"role": "user", "content": "x"}])
    except PannierError as error:
        os.write(2, f"template: {error}\n".encode())
    if vocab_only:
        return
    with model.context(n_ctx=64, n_batch=32, n_outputs_max=8, n_threads=1) as context:
        batch = pannier.Batch()
        batch.add(0, [1, 0, model.n_vocab - 1], logits=True)
        context.step(batch)
        context.memory()


def run_random(fuzzer: Fuzzer, args: argparse.Namespace) -> None:
    rng = random.Random(args.seed)
    end = time.monotonic() + args.seconds
    while time.monotonic() < end:
        fuzzer.try_file(fuzzer.mutant(rng))
        if fuzzer.counts["executions"] % 1000 == 0:
            sys.stderr.write(f"{fuzzer.report()}\n")


def run_atheris(fuzzer: Fuzzer, args: argparse.Namespace) -> None:
    """Coverage of the validator chooses which mutants are changed further."""
    import atheris

    corpus = args.keep / "corpus"
    corpus.mkdir(exist_ok=True)
    for i, file in enumerate(fuzzer.files):
        file.write(corpus / f"{i}.gguf")

    def change(data: bytes, max_size: int, seed: int) -> bytes:
        rng = random.Random(seed)
        parent = args.keep / "parent.gguf"
        parent.write_bytes(data)
        if rng.random() < 0.5:
            return fuzzer.mutant(rng)[:max_size]
        try:
            return mutate(rng, Gguf.read(parent))[:max_size]
        except (ModelError, struct.error):
            return mutate_bytes(rng, data)[:max_size]

    def one(data: bytes) -> None:
        fuzzer.try_file(data)
        if fuzzer.counts["executions"] % 500 == 0:
            sys.stderr.write(f"{fuzzer.report()}\n")

    options = (
        f"-max_total_time={args.seconds:.0f}",
        f"-seed={args.seed}",
        f"-max_len={1 << 21}",
        "-rss_limit_mb=0",
    )
    atheris.Setup([sys.argv[0], *options, str(corpus)], one, custom_mutator=change)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
