"""Children that end: how, and with what last words."""

from __future__ import annotations

import multiprocessing
import os
import signal

import pytest

from pannier.server.last_words import N_CHARS, N_LINES, LastWords
from pannier.server.process import Ending, ending


def last_words(said: bytes) -> str:
    reader, writer = multiprocessing.Pipe(duplex=False)
    words = LastWords(reader)
    os.write(writer.fileno(), said)
    writer.close()
    words.wait(30)
    return words.text


def test_stderr_flows_on_and_its_end_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    said = "".join(f"line {i}\n" for i in range(3 * N_LINES))
    assert last_words(said.encode()).splitlines() == said.splitlines()[-N_LINES:]
    assert capsys.readouterr().err == said


def test_last_words_are_bounded_and_need_no_end_of_line() -> None:
    assert last_words(b"x" * 40_000 + b" assertion") == ("x" * 40_000 + " assertion")[-N_CHARS:]


def test_bytes_that_are_no_text_are_shown_as_such() -> None:
    assert last_words(b"broken \xff\n") == "broken \N{REPLACEMENT CHARACTER}"


def test_nothing_said() -> None:
    assert last_words(b"") == ""
    assert Ending("by SIGKILL").last_line == ""


def test_statuses_in_words() -> None:
    assert ending(-signal.SIGABRT) == "by SIGABRT"
    assert ending(-63) == "by signal 63"
    assert ending(3) == "with status 3"
