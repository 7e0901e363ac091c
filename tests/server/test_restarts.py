"""How many engines may end in a row."""

from __future__ import annotations

from pannier.server.restarts import LIFE_S, MAX_ENDS, Restarts


def test_some_ends_in_a_row_are_too_many() -> None:
    restarts = Restarts()
    assert [restarts.ended(1.0) for _ in range(MAX_ENDS)] == [True] * (MAX_ENDS - 1) + [False]


def test_a_finished_request_and_a_long_life_begin_a_new_row() -> None:
    restarts = Restarts()
    for _ in range(5):
        assert restarts.ended(0.0)
        assert restarts.ended(0.0)
        restarts.finished()
    for _ in range(5):
        assert restarts.ended(LIFE_S)
        assert restarts.n_ends == 1


def test_only_ends_in_a_row_are_waited_for() -> None:
    restarts = Restarts()
    pauses = []
    for _ in range(MAX_ENDS):
        restarts.ended(0.0)
        pauses.append(restarts.pause_s)
    assert pauses[0] == 0.0
    assert pauses[1:] == sorted(set(pauses[1:]))
    assert pauses[1] > 0
