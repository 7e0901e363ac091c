"""Ctrl-C while a reply runs. The speaker is fake, the signals are real."""

from __future__ import annotations

import signal
import threading

import pytest

from pannier.chat_cli import pump
from pannier.chat_cli.pump import run_reply
from pannier.chat_cli.session import ReplyEnd
from pannier.errors import DecodeError

TIMEOUT_S = 30


class Slow:
    """Says "a" and then nothing until it is stopped (or only until it is aborted)."""

    def __init__(self, *, stubborn=False):
        self.calls = []
        self.stubborn = stubborn
        self.over = threading.Event()

    def reply(self):
        yield "a"
        assert self.over.wait(TIMEOUT_S), "nobody stopped it"
        return end("a")

    def stop(self):
        self.calls.append("stop")
        if not self.stubborn:
            self.over.set()

    def abort(self):
        self.calls.append("abort")
        self.over.set()


def end(text):
    return ReplyEnd(text, "interrupted", n_prompt=1, n_reused=0, n_tokens=1, n_ctx=9)


def press(_text=""):
    signal.raise_signal(signal.SIGINT)


def test_the_pieces_and_the_end():
    def reply():
        assert threading.current_thread() is not threading.main_thread()
        yield "a"
        yield "b"
        return end("ab")

    shown = []
    assert run_reply(reply(), Slow(), shown.append) == end("ab")
    assert shown == ["a", "b"]


def test_ctrl_c_stops(monkeypatch):
    monkeypatch.setattr(pump, "GRACE_S", TIMEOUT_S)
    speaker = Slow()
    assert run_reply(speaker.reply(), speaker, press) == end("a")
    assert set(speaker.calls) == {"stop"}


def test_ctrl_c_twice_aborts(monkeypatch):
    monkeypatch.setattr(pump, "GRACE_S", TIMEOUT_S)
    speaker = Slow(stubborn=True)

    def show(text):
        press()
        press()

    assert run_reply(speaker.reply(), speaker, show) == end("a")
    assert set(speaker.calls) == {"abort"}


def test_a_step_that_takes_too_long_is_aborted(monkeypatch):
    monkeypatch.setattr(pump, "GRACE_S", 0.0)
    speaker = Slow(stubborn=True)
    assert run_reply(speaker.reply(), speaker, press) == end("a")
    assert "abort" in speaker.calls


def test_errors_come_to_the_caller():
    def reply():
        yield "a"
        raise DecodeError("the step failed")

    with pytest.raises(DecodeError, match="the step failed"):
        run_reply(reply(), Slow(), lambda text: None)


def test_a_reader_that_goes_away_ends_the_thread():
    speaker = Slow()

    def show(text):
        raise BrokenPipeError

    n = threading.active_count()
    with pytest.raises(BrokenPipeError):
        run_reply(speaker.reply(), speaker, show)
    assert threading.active_count() == n


def test_ctrl_c_means_afterwards_what_it_meant_before():
    speaker = Slow()
    before = signal.getsignal(signal.SIGINT)
    run_reply(speaker.reply(), speaker, press)
    assert signal.getsignal(signal.SIGINT) is before


def test_where_ctrl_c_is_ignored_it_stays_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with pump.ctrl_c() as presses:
            press()
        assert presses == []
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
