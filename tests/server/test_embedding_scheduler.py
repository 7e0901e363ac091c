"""Batches of prompts out of requests."""

from __future__ import annotations

import numpy as np
import pytest

from pannier.server.embedding_scheduler import BatchLimits, EmbeddingScheduler, Piece
from pannier.server.limits import Policy
from pannier.server.messages import Embed, Output

LIMITS = BatchLimits(n_slots=2, n_prompts=4, n_tokens=10, n_prompt=8)


def embed(id: int, *lengths: int, priority: int = 0, key: str = "") -> Embed:
    return Embed(id, [[100 * id + n] * length for n, length in enumerate(lengths)], priority, key)


def scheduler(*requests: Embed, **policy: int) -> EmbeddingScheduler:
    made = EmbeddingScheduler(LIMITS, Policy(**policy))
    for request in requests:
        assert made.submit(request) is None
    return made


def batch(made: EmbeddingScheduler) -> list[Piece]:
    made.admit()
    return made.schedule()


def tokens(pieces: list[Piece]) -> list[int]:
    return [piece.prompt[0] for piece in pieces]


def step(made: EmbeddingScheduler) -> tuple[list[int], list[Output]]:
    """A batch whose rows are its prompts' first tokens: what is in it, and who is done."""
    pieces = batch(made)
    outputs = made.update(pieces, [np.array([first], "f4") for first in tokens(pieces)])
    return tokens(pieces), outputs


def test_prompts_of_several_requests_share_a_batch() -> None:
    made = scheduler(embed(1, 2, 2), embed(2, 3))
    found, outputs = step(made)
    assert sorted(found) == [100, 101, 200]
    assert [output.finish for output in outputs] == ["embedded"] * 2
    rows = {output.id: [float(row[0]) for row in output.rows] for output in outputs}
    assert rows == {1: [100, 101], 2: [200]}
    assert made.is_idle


def test_a_long_request_does_not_hold_up_a_short_one() -> None:
    made = scheduler(embed(1, *[8] * 20))
    assert step(made)[0] == [100]
    made.submit(embed(2, 8))
    found, outputs = step(made)
    assert found == [200]
    assert [output.id for output in outputs] == [2]


def test_the_least_served_goes_first() -> None:
    made = scheduler(embed(1, *[6] * 3), embed(2, *[6] * 3))
    assert [step(made)[0] for _ in range(6)] == [[100], [200], [101], [201], [102], [202]]


def test_a_batch_has_so_many_prompts_and_tokens() -> None:
    made = scheduler(embed(1, *[1] * 9))
    assert [step(made)[0] for _ in range(3)] == [[100, 101, 102, 103], [104, 105, 106, 107], [108]]
    made = scheduler(embed(1, 4, 4, 4, 4))
    assert [step(made)[0] for _ in range(2)] == [[100, 101], [102, 103]]


def test_a_prompt_of_several_ubatches_goes_alone() -> None:
    made = EmbeddingScheduler(BatchLimits(n_slots=2, n_prompts=4, n_tokens=10, n_prompt=30))
    for request in (embed(1, 2), embed(2, 30, 1), embed(3, 1)):
        assert made.submit(request) is None
    assert [sorted(step(made)[0]) for _ in range(3)] == [[100], [200], [201, 300]]


def test_slots() -> None:
    made = scheduler(embed(1, 8, 8), embed(2, 8, 8), embed(3, 8), embed(4, 8, priority=1))
    made.admit()
    assert sorted(made.running) == [1, 4]
    assert [request.id for request in made.waiting] == [2, 3]
    slots = {running.slot for running in made.running.values()}
    assert slots == {0, 1}
    step(made)
    step(made)
    made.admit()
    assert sorted(made.running) == [1, 2]


def test_one_key_has_its_share() -> None:
    made = scheduler(embed(1, 8, key="a"), embed(2, 8, key="a"), embed(3, 8), max_per_key=1)
    assert made.admit() == [1, 3]


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (embed(1, 9), "a prompt has 9 tokens; at most 8"),
        (embed(1, 3, 0), "a prompt is empty"),
        (embed(1), "a prompt is empty"),
    ],
)
def test_refused(request_: Embed, error: str) -> None:
    output = scheduler().submit(request_)
    assert output is not None
    assert (output.finish, output.status) == ("error", 400)
    assert error in output.error


def test_a_full_queue() -> None:
    made = scheduler(max_queue=1)
    n_taken = made.limits.n_slots + 1  # those that find a slot do not wait
    assert not any(made.submit(embed(id, 1)) for id in range(n_taken))
    output = made.submit(embed(n_taken, 1))
    assert output is not None
    assert (output.status, output.retry_after_s) == (503, 5)


def test_cancel() -> None:
    made = scheduler(embed(1, 8, 8), embed(2, 8), embed(3, 8))
    pieces = batch(made)
    for id, slot in ((1, 0), (3, -1)):
        output = made.cancel(id)
        assert output is not None
        assert (output.finish, output.slot) == ("cancelled", slot)
    assert made.cancel(1) is None
    assert tokens(pieces) == [100]
    assert step(made)[0] == [200]
    assert made.is_idle


def test_failures_end_who_causes_them() -> None:
    made = scheduler(embed(1, 2), embed(2, 2))
    for _ in range(2):
        assert made.retry(batch(made), "bad") == []
    assert tokens(batch(made)) == [100]  # alone
    [output] = made.retry(batch(made), "bad")
    assert (output.id, output.finish, output.error, output.status) == (1, "error", "bad", 500)
    assert step(made)[0] == [200]
    assert made.is_idle
