"""An engine at work, and what its ledger says meanwhile. Runs in a process with the engine to test.

python -m tests.server.ledger_engine '[{"model": ..., ...}]' -> one JSON document
"""

from __future__ import annotations

import itertools
import json
import random
import sys
import threading
import time
from collections.abc import Sequence
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

from pannier.sampling import SamplingParams
from pannier.server.config import EngineConfig
from pannier.server.engine import run_engine
from pannier.server.messages import (
    Answer,
    Cancel,
    Failed,
    Loading,
    Output,
    Query,
    Ready,
    Shutdown,
    StepOutputs,
    Submit,
)

ENDLESS = SamplingParams(temperature=0.0, ignore_eos=True)
QUERY = 10**6


class LedgerEngine:
    """The whole engine side in a thread."""

    def __init__(self, **options: Any) -> None:
        self.config = EngineConfig(**options)
        self.ours, theirs = Pipe(duplex=True)
        self.thread = threading.Thread(target=run_engine, args=(theirs, self.config))
        self.ids = itertools.count(1)
        self.outputs: dict[int, list[Output]] = {}

    def __enter__(self) -> LedgerEngine:
        self.thread.start()
        while not isinstance(news := self.ours.recv(), Ready):
            assert isinstance(news, Loading), news
        return self

    def __exit__(self, *_: object) -> None:
        self.ours.send(Shutdown())
        self.thread.join(60)
        self.ours.close()

    def submit(self, prompt: Sequence[int], max_tokens: int, **more: Any) -> int:
        id = next(self.ids)
        self.outputs[id] = []
        self.ours.send(Submit(id, list(prompt), ENDLESS, max_tokens=max_tokens, **more))
        return id

    def cancel(self, *ids: int) -> None:
        """End requests, and wait for it."""
        for id in ids:
            self.ours.send(Cancel(id))
        self.finish(*ids)

    def finish(self, *ids: int) -> None:
        """Receive until these have ended."""
        while not all(self.outputs[id] and self.outputs[id][-1].finish for id in ids):
            self._receive()

    def generate(self, *ids: int, n: int = 1) -> None:
        """Receive until each of these has so many tokens."""
        while any(sum(len(one.tokens) for one in self.outputs[id]) < n for id in ids):
            self._receive()

    def memory(self) -> Any:
        """The report, between two steps."""
        self.ours.send(Query(QUERY, "memory"))
        while not isinstance(news := self.ours.recv(), Answer):
            self._note(news)
        return news.report

    def _receive(self) -> None:
        self._note(self.ours.recv())

    def _note(self, news: Any) -> None:
        assert not isinstance(news, Failed), news
        for output in getattr(news, "outputs", ()) if isinstance(news, StepOutputs) else ():
            assert output.finish != "error", output.error
            self.outputs[output.id].append(output)


def words(seed: object, n: int) -> list[int]:
    rng = random.Random(str(seed))
    return [rng.randrange(10, 250) for _ in range(n)]


def busy(engine: LedgerEngine) -> dict[str, Any]:
    """Prompts that nobody shares come and go; then clients with a common prefix are at work."""
    passing = [engine.submit(words(i, 70), 2) for i in range(6)]
    common = words("common", 100)
    clients = [
        engine.submit(common + words(("own", i), 20), 300, report_memory=True) for i in range(3)
    ]
    engine.generate(*clients, n=4)
    working = engine.memory()
    engine.cancel(clients[0])
    fewer = engine.memory()
    engine.cancel(*clients[1:])
    engine.finish(*passing)
    told = [output.memory for id in clients for output in engine.outputs[id] if output.memory]
    return {"working": working, "fewer": fewer, "told": told, **at_rest(engine)}


def at_rest(engine: LedgerEngine) -> dict[str, Any]:
    """The report, and the bytes of the files in the store, once all that is kept is there: they are
    written one by one while there is nothing to compute."""
    folder = Path(engine.config.prefix_cache_dir)
    for _ in range(1000):
        idle = engine.memory()
        sizes = [path.stat().st_size for path in folder.glob("*.state")]
        if 0 < idle["prefixes"]["n_on_disk"] == len(sizes):
            break
        time.sleep(0.02)
    return {"idle": idle, "file_bytes": sum(sizes)}


def sharing(engine: LedgerEngine) -> dict[str, Any]:
    """As many clients as there are slots, of 2,048 common tokens and 40 of their own, where these
    tokens are kept."""
    common = words("common", 2048)
    engine.finish(engine.submit(common, 0))
    before = engine.memory()
    slots = range(engine.config.n_parallel)
    ids = [engine.submit(common + words(("own", i), 40), 200) for i in slots]
    engine.generate(*ids, n=20)
    return {"before": before, "working": engine.memory()}


WORKS = {"busy": busy, "sharing": sharing}


def main() -> None:
    found = []
    for work in json.loads(sys.argv[1]):
        with LedgerEngine(**work["options"]) as engine:
            found.append(WORKS[work["what"]](engine))
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
