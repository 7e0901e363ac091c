"""Which slot takes a request, and what slots remember."""

from __future__ import annotations

from pannier.server.slots import Slots


def test_the_slot_that_is_alike_or_else_the_one_idle_for_longest() -> None:
    slots = Slots(3, 0.5)
    assert slots.take(-1, [1, 2]) == 2, "as llama-server: the last of those that never worked"
    slots.free(2, 10, [1, 2, 3, 4])
    assert slots.take(-1, [5, 6]) == 1
    slots.free(1, 11, [5, 6])
    assert slots.take(-1, [1, 2, 3, 9]) == 2, "three of four tokens"
    slots.free(2, 12, [1, 2, 3, 9])
    assert slots.take(-1, [1, 7, 7, 7]) == 0, "one of four is too little"
    slots.free(0, 13, [1, 7, 7, 7])
    assert slots.take(-1, [8]) == 1, "the oldest"


def test_without_similarity_age_decides() -> None:
    slots = Slots(2, 0.0)
    for request, slot in enumerate([1, 0, 1, 0]):
        assert slots.take(-1, [1, 2, 3]) == slot
        slots.free(slot, request, [1, 2, 3])


def test_a_slot_can_be_asked_for() -> None:
    slots = Slots(2, 0.1)
    assert slots.take(5, [1]) == 1, "numbers begin again"
    assert slots.is_busy(1) and slots.is_busy(3) and not slots.is_busy(0)
    assert not slots.can_take(1) and slots.can_take(0) and slots.can_take(-1)
    assert slots.take(-1, [1]) == 0
    assert not slots.can_take(-1) and not slots.idle
    slots.free(1, 7, [4])
    assert (list(slots[1].requests), slots[1].tokens) == ([7], [4])
    slots[1].become([5])
    assert (list(slots[1].requests), slots[1].tokens) == ([], [5])
