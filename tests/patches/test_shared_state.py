"""shared-sequence-state: wrong logits on an engine without the patch, exact ones with it.

Every decode is compared with a clean run of the sequence's history. Rounding gives relative
errors of some 1e-6 here, a wrong state 1e-1 and more.
"""

import random
from dataclasses import dataclass

import numpy as np
import pytest

EXACT = 1e-4
WRONG = 0.05

pytestmark = pytest.mark.engine


@dataclass(frozen=True)
class Case:
    """A script; what a rollback in it must answer; whether llama.cpp gets it wrong."""

    script: str
    rollbacks: str = "accepted"
    stock_is_wrong: bool = True

    @property
    def commands(self) -> list[str]:
        return self.script.split("; ")


# Sequences 0 to 3, four snapshots. `decode 0 12` gives sequence 0 twelve new tokens.
CASES = {
    # a copy takes the pending rollback along
    "copy of a rolled back sequence": Case(
        "decode 0 12; rollback 0 3; copy 0 1; decode 1 1; decode 0 1; decode 0 2 1 2"
    ),
    "source decodes first": Case(
        "decode 0 12; rollback 0 3; copy 0 1; decode 0 1; decode 1 1", stock_is_wrong=False
    ),
    "copies decode in one batch": Case(
        "decode 0 12; rollback 0 3; copy 0 1; decode 0 2 1 2; decode 1 1 0 1"
    ),
    "copies decode in one batch, other order": Case(
        "decode 0 12; rollback 0 3; copy 0 1; decode 1 2 0 2; decode 0 1 1 1"
    ),
    "copy of a copy, then the first goes": Case(
        "decode 0 12; rollback 0 3; copy 0 1; copy 1 2; remove 0; decode 2 1; decode 1 1"
    ),
    "three copies at once": Case(
        "decode 0 12; rollback 0 2; copy 0 3; copy 0 1; copy 3 2; decode 2 1 1 1 0 1 3 1"
    ),
    "source goes before the copy decodes": Case(
        "decode 0 12; rollback 0 3; copy 0 1; remove 0; decode 1 1; decode 0 5"
    ),
    # a rollback does not outlive its sequence
    "copy onto an erased rollback": Case(
        "decode 0 12; decode 1 9; rollback 1 3; erase 1; copy 0 1; decode 1 1"
    ),
    "new tokens after an erased rollback": Case("decode 1 9; rollback 1 3; erase 1; decode 1 1"),
    "new tokens after a removed rollback": Case(
        "decode 0 12; rollback 0 3; remove 0; decode 0 5", stock_is_wrong=False
    ),
    "another sequence is kept": Case(
        "decode 0 12; decode 1 12; rollback 0 3; keep 1; decode 0 3; decode 1 1"
    ),
    "the rolled back sequence is kept": Case(
        "decode 0 12; decode 1 12; rollback 0 3; copy 0 2; keep 0; decode 1 3; decode 0 1",
        stock_is_wrong=False,
    ),
    # a rollback needs a snapshot
    "no snapshot after one token": Case(
        "decode 0 12; decode 0 1; rollback 0 1; decode 0 1", "refused"
    ),
    "no snapshot of the whole batch": Case(
        "decode 0 12; decode 0 3; rollback 0 3; decode 0 1", "refused"
    ),
    "as deep as the batch has snapshots": Case(
        "decode 0 12; decode 0 3; rollback 0 2; decode 0 1", stock_is_wrong=False
    ),
    "deeper than n_rs_seq": Case(
        "decode 0 12; rollback 0 5; decode 0 1", "refused", stock_is_wrong=False
    ),
    "a second one while one is pending": Case(
        "decode 0 12; rollback 0 1; rollback 0 1; decode 0 1",
        "accepted refused",
        stock_is_wrong=False,
    ),
    "of a shared cell": Case(
        "decode 0 12; copy 0 1; rollback 0 2; decode 0 1; decode 1 1", "refused", False
    ),
    "of the one that stays in a shared cell": Case(
        "decode 0 12; copy 0 1; decode 1 1; rollback 0 2; decode 0 1", stock_is_wrong=False
    ),
    "of the one that left a shared cell": Case(
        "decode 0 12; copy 0 1; decode 1 1; rollback 1 1; decode 1 1", "refused"
    ),
    "after the cell was moved": Case(
        "decode 0 12; decode 1 12; decode 2 12; decode 2 5 0 5; rollback 1 3; decode 1 1", "refused"
    ),
    "pending when the cell is moved": Case(
        "decode 0 12; decode 1 12; decode 2 12; rollback 1 3; decode 2 5 0 5; decode 1 1",
        stock_is_wrong=False,
    ),
    # states travel through memory
    "restored state has no snapshots": Case(
        "decode 0 12; save 0; decode 1 9; remove 1; load 1; rollback 1 2; decode 1 1", "refused"
    ),
    "pending when saved": Case(
        "decode 0 12; rollback 0 3; copy 0 1; save 1; remove 1; load 2; decode 2 1; decode 0 1"
    ),
    "a whole context with a shared rollback": Case(
        "decode 0 12; decode 1 8; rollback 0 3; copy 0 2; saveall; decode 0 1; loadall; "
        "decode 2 1; decode 0 1; decode 1 1"
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_exact_with_the_patch(patched, case):
    played = patched.run(case.commands)
    assert played.status == 0, played.stderr
    assert played.rollbacks == case.rollbacks.split()
    assert played.error < EXACT, played.answers


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=name) for name, case in CASES.items() if case.stock_is_wrong]
)
def test_wrong_without_the_patch(stock, case):
    assert stock.run(case.commands).error > WRONG


@pytest.mark.slow
@pytest.mark.vulkan
def test_exact_on_vulkan(patched_vulkan):
    # in one process: a software device takes seconds to compile its shaders
    reset = [f"remove {seq}" for seq in range(4)]
    script = [command for case in CASES.values() for command in (*case.commands, *reset)]
    played = patched_vulkan.run(script, timeout_s=900)
    assert played.status == 0, played.stderr
    assert played.rollbacks == " ".join(case.rollbacks for case in CASES.values()).split()
    assert played.error < 10 * EXACT, played.answers


def off_by(player, rolled_back, straight):
    """How far a script that rolls back ends from one that never decoded those tokens."""
    ours, theirs = (
        np.array(player.run([*script.split("; "), "logits"]).logits)
        for script in (rolled_back, straight)
    )
    return np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)


# Attention keeps what the destination held, so there is no clean run to compare with.
ONTO = (
    "decode 0 12; seed 7; decode 1 9; rollback 1 3; copy 0 1; seed 8; decode 1 1",
    "decode 0 12; seed 7; decode 1 6; copy 0 1; seed 8; decode 1 1",
)


def test_copy_onto_a_pending_rollback(patched):
    assert off_by(patched, *ONTO) < EXACT


def test_copy_onto_a_pending_rollback_is_wrong_without_the_patch(stock):
    assert off_by(stock, *ONTO) > WRONG


class Writer:
    """Writes a random script; knows only which sequences hold tokens, and at least how many."""

    def __init__(self, seed, n_seq=4, split=False):
        self.random = random.Random(seed)
        self.least = [0] * n_seq
        self.split = split
        self.lines = []

    def write(self, n_commands):
        commands = [self.decode] * 3 + [self.rollback] * 2 + [self.copy, self.drop]
        self.decode()
        for _ in range(n_commands):
            self.random.choice(commands)()
        self.lines.append("decode " + " ".join(f"{seq} 1" for seq in range(len(self.least))))
        return self.lines

    def pick(self, least):
        return self.random.choice([i for i, n in enumerate(self.least) if n >= least] or [None])

    def decode(self):
        # a split cache takes the sequences of a batch in rising order only
        seqs = self.random.sample(range(len(self.least)), self.random.randint(1, len(self.least)))
        feeds = [(s, self.random.choice([1, 1, 2, 3, 5, 20])) for s in seqs]
        for seq, n in feeds:
            self.least[seq] += n
        self.lines.append(
            "decode " + " ".join(f"{s} {n}" for s, n in (sorted(feeds) if self.split else feeds))
        )

    def rollback(self):
        if (seq := self.pick(7)) is not None:
            n = self.random.randint(1, 5)
            self.least[seq] -= n
            self.lines.append(f"rollback {seq} {n}")

    def drop(self):
        if (seq := self.pick(1)) is not None:
            self.least[seq] = 0
            self.lines.append(f"{self.random.choice(['remove', 'erase'])} {seq}")

    def copy(self):
        source = self.pick(1)
        if source is None:
            return
        target = (source + self.random.randint(1, len(self.least) - 1)) % len(self.least)
        if self.least[target]:
            self.lines.append(f"{self.random.choice(['remove', 'erase'])} {target}")
        self.least[target] = self.least[source]
        self.lines.append(f"copy {source} {target}")


def random_scripts(n, split):
    return [Writer(seed, split=split).write(40) for seed in range(n)]


@pytest.mark.parametrize("unified", [True, False], ids=["unified", "split"])
def test_random_scripts(patched, unified):
    for script in random_scripts(40, split=not unified):
        played = patched.run(script, unified=unified)
        assert played.error < EXACT, (script, played.answers, played.stderr)


@pytest.mark.parametrize("unified", [True, False], ids=["unified", "split"])
def test_random_scripts_go_wrong_without_the_patch(stock, unified):
    errors = [
        stock.run(script, unified=unified).error for script in random_scripts(10, split=not unified)
    ]
    assert sum(error > WRONG for error in errors) > 5
