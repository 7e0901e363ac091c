"""The engine's news, in order, from a thread of its own or at once."""

from __future__ import annotations

from multiprocessing import Pipe

import pytest

from pannier.server.mailer import Mailer
from pannier.server.messages import Loading


def test_messages_keep_their_order_whatever_their_size():
    ours, theirs = Pipe()
    mailer = Mailer(theirs)
    for i in range(500):
        mailer.send(Loading(i), is_small=i % 3 == 0)
    assert [ours.recv().fraction for _ in range(500)] == list(range(500))
    mailer.close()


def test_what_is_queued_is_sent_before_the_end():
    ours, theirs = Pipe()
    mailer = Mailer(theirs)
    for i in range(50):
        mailer.send(Loading(i))
    mailer.close()
    assert [ours.recv().fraction for _ in range(50)] == list(range(50))


def test_it_says_when_nobody_reads():
    ours, theirs = Pipe()
    mailer = Mailer(theirs)
    ours.close()
    mailer.send(Loading(0.0))
    mailer.close()
    with pytest.raises(BrokenPipeError):
        mailer.send(Loading(0.5))
