"""Who is inside is waited for, and who comes later is told."""

from __future__ import annotations

import threading

import pytest

from pannier.errors import ClosedError
from pannier.gate import Gate


def test_shutting_waits_for_those_inside() -> None:
    gate, order = Gate("it is closed"), []
    inside, leave = threading.Event(), threading.Event()

    def work() -> None:
        with gate:
            inside.set()
            assert leave.wait(30)
            order.append("left")

    def shut() -> None:
        gate.shut()
        order.append("shut")

    threads = [threading.Thread(target=work), threading.Thread(target=shut)]
    threads[0].start()
    assert inside.wait(30)
    threads[1].start()
    while not gate._is_shut:
        pass
    with pytest.raises(ClosedError, match="it is closed"), gate:
        pytest.fail("inside")
    assert order == []
    leave.set()
    for thread in threads:
        thread.join(30)
    assert order == ["left", "shut"]
    gate.shut()


def test_who_raises_is_out() -> None:
    gate = Gate("it is closed")
    with pytest.raises(KeyError), gate:
        raise KeyError
    gate.shut()
