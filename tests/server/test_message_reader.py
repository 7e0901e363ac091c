"""Text as a message, by a parser of the test's own."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from pannier.chat import ChatMessage, MessageDelta, Parsed, ToolCall
from pannier.errors import ChatError
from pannier.server import message_reader
from pannier.server.message_reader import MessageReader, Reading, clean
from pannier.text import Pieces

from .conftest import FakeVocabulary

PIECES = Pieces(FakeVocabulary())


class Shouter:
    """Content in capitals; plain after a full stop; an error at a question mark."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, Any, bool]] = []
        self.text = ""
        self.closed = False

    def copy(self) -> Shouter:
        return Shouter()

    def close(self) -> None:
        self.closed = True

    def parse(self, text: bytes, tokens: Any = (), *, last: bool = False) -> Parsed:
        self.asked.append((text, list(tokens), last))
        if b"?" in text:
            raise ChatError("a question")
        self.text += text.decode("utf-8", "replace").upper()
        deltas = [MessageDelta(content=text.decode().upper())] if text else []
        message = ChatMessage(self.text) if last else None
        return Parsed(deltas, "." in self.text, message)


def reader(parser: Any, *, stream: bool = True) -> MessageReader:
    return MessageReader(parser, PIECES, stream=stream)


def push(reader: MessageReader, text: str) -> list[str]:
    return [delta.content for delta in reader.push(list(text.encode()), text)]


def test_a_stream_is_parsed_as_it_grows() -> None:
    parser = Shouter()
    read = reader(parser)
    assert push(read, "ab") == ["AB"]
    assert push(read, "é") == ["É"]
    assert read.finish() == []
    assert read.message == ChatMessage("ABÉ")
    starts = [tokens for _, tokens, _ in parser.asked]
    assert starts == [[(0, 97), (1, 98)], [(0, 0xC3), (1, 0xA9)], []]
    assert parser.closed


def test_tokens_whose_text_is_held_begin_later() -> None:
    parser = Shouter()
    read = reader(parser)
    assert read.push(list(b"abc"), "a") == [MessageDelta(content="A")]
    read.push(list(b"d"), "bcd")
    assert [tokens for _, tokens, _ in parser.asked] == [[(0, 97)], [(0, 98), (1, 99), (2, 100)]]


def test_plain_text_is_not_parsed() -> None:
    parser = Shouter()
    read = reader(parser)
    assert push(read, "a.") == ["A."]
    assert push(read, "b") == ["b"]
    assert read.finish() == []
    assert len(parser.asked) == 1
    assert read.message == ChatMessage("A.B")
    assert len(parser.asked) == 2


def test_a_whole_answer_is_parsed_once() -> None:
    parser = Shouter()
    read = reader(parser, stream=False)
    assert push(read, "a.") == push(read, "b") == []
    read.finish()
    assert [text for text, _, _ in parser.asked] == [b"a.b"]
    assert read.message == ChatMessage("A.B")


def test_long_parses_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 0.0, 1.0, 2.0, 12.0, 12.0, 12.0])
    monkeypatch.setattr(message_reader.time, "perf_counter", lambda: next(now))
    read = reader(Shouter())
    assert push(read, "a") == ["A"]  # took a second
    assert push(read, "b") == []  # too early
    assert push(read, "c") == ["BC"]


@pytest.mark.parametrize("stream", [True, False])
def test_text_in_another_format_is_shown_as_it_is(
    stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    class Quiet(Shouter):
        def parse(self, text: bytes, tokens: Any = (), *, last: bool = False) -> Parsed:
            parsed = super().parse(text, tokens, last=last)
            return Parsed([MessageDelta(content=text.decode())], False, parsed.message)

    with caplog.at_level(logging.WARNING, "pannier.server"):
        read = reader(Quiet(), stream=stream)
        shown = [*push(read, "ab"), *push(read, "c?"), *push(read, "d")]
        shown += [delta.content for delta in read.finish()]
    assert "".join(shown) == ("abc?d" if stream else "")
    assert read.message == ChatMessage("abc?d")
    assert [record.getMessage() for record in caplog.records] == [
        "an answer is shown as it is: a question"
    ]


def test_nothing_is_shown_twice_when_a_call_goes_wrong() -> None:
    class Caller(Shouter):
        def parse(self, text: bytes, tokens: Any = (), *, last: bool = False) -> Parsed:
            super().parse(text, tokens, last=last)
            return Parsed([MessageDelta(index=0, call=ToolCall("i", "f", "{"))], False, None)

    read = reader(Caller())
    push(read, "a")
    assert push(read, "?") == []
    assert push(read, "b") == ["b"]
    assert read.has_tool_calls


def test_without_a_parser_all_is_content() -> None:
    read = Reading(None, PIECES).reader(stream=True)
    assert push(read, "ab") == ["ab"]
    assert read.push([255], "\udcff") == [MessageDelta(content="\ufffd")]
    assert read.finish() == []
    assert read.message == ChatMessage("ab\ufffd")


def test_an_empty_message_is_the_text() -> None:
    class Blind(Shouter):
        def parse(self, text: bytes, tokens: Any = (), *, last: bool = False) -> Parsed:
            return Parsed([], False, ChatMessage("") if last else None)

    read = reader(Blind(), stream=False)
    push(read, " ")
    read.finish()
    assert read.message == ChatMessage(" ")


def test_clean() -> None:
    assert clean("plain") == "plain"
    assert clean("é\udcff\udcc3") == "é\ufffd\ufffd"
