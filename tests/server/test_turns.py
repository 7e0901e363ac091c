"""Taking turns."""

from __future__ import annotations

from pannier.server.messages import Adapters
from pannier.server.turns import N_STEPS, Turns

A: Adapters = ((0, 1.0),)
B: Adapters = ((1, 0.5),)
C: Adapters = ((0, 0.5), (1, 0.5))


def test_one_set_has_all_steps() -> None:
    turns = Turns()
    assert [turns.next([A, A]) for _ in range(3 * N_STEPS)] == [A] * 3 * N_STEPS


def test_sets_take_turns() -> None:
    turns = Turns()
    found = [turns.next([A, B, A, C]) for _ in range(6 * N_STEPS)]
    assert found == [one for one in (A, B, C) * 2 for _ in range(N_STEPS)]


def test_who_comes_late_waits_no_longer_than_the_others() -> None:
    turns = Turns()
    for _ in range(2 * N_STEPS):
        turns.next([A])
    assert turns.next([A, B]) == B
    assert [turns.next([A, B, C]) for _ in range(N_STEPS)] == [B] * (N_STEPS - 1) + [A]
    for _ in range(N_STEPS - 1):
        turns.next([A, B, C])
    assert turns.next([A, B, C]) == C


def test_new_sets_do_not_overtake() -> None:
    turns = Turns()
    waiting = [A, B]
    found = []
    for i in range(6 * N_STEPS):
        if i % N_STEPS == 0:
            waiting = [A, B, ((9, float(i)),)]
        found.append(turns.next(waiting))
    assert B in found[: 3 * N_STEPS]
    assert A in found[3 * N_STEPS :]


def test_a_turn_ends_with_the_work() -> None:
    turns = Turns()
    assert [turns.next([A, B]), turns.next([B]), turns.next([A, B])] == [A, B, B]
