"""Text streams: what is sent does not depend on how tokens cut the bytes."""

from __future__ import annotations

import random

import pytest

from pannier.text import Pieces, TextStream


class ByteVocabulary:
    """Tokens are indices into a list of byte strings."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces
        self.n_asked = 0

    def piece(self, token: int, *, special: bool = False) -> bytes:
        self.n_asked += 1
        return self.pieces[token]


def reference(data: bytes, stops: list[str]) -> tuple[str, str | None]:
    """The same by definition: try every end of the text in turn."""
    for end in range(len(data) + 1):
        ended = [stop for stop in stops if data[:end].endswith(stop.encode())]
        if ended:
            stop = max(ended, key=len)
            return data[: end - len(stop.encode())].decode("utf-8", "replace"), stop
    return data.decode("utf-8", "replace"), None


def cut(data: bytes, chance: random.Random) -> list[bytes]:
    """Random pieces of a text, empty ones among them."""
    borders = sorted(chance.choices(range(len(data) + 1), k=chance.randint(0, len(data))))
    ends = [*borders, len(data)]
    return [data[begin:end] for begin, end in zip([0, *borders], ends, strict=True)]


def feed(pieces: list[bytes], stops: list[str]) -> tuple[list[str], TextStream]:
    stream = TextStream(Pieces(ByteVocabulary(pieces)), stops)
    sent = [stream.push([token]) for token in range(len(pieces))]
    return [*sent, stream.flush()], stream


ALPHABETS = (b"ab", b"abc\n", "aé€😀b".encode(), bytes(range(256)))


@pytest.mark.parametrize("alphabet", ALPHABETS, ids=["two", "few", "wide", "all"])
def test_random_texts_and_cuts(alphabet: bytes) -> None:
    chance = random.Random(1)
    for _ in range(500):
        data = bytes(chance.choices(alphabet, k=chance.randint(0, 30)))
        stops = [
            "".join(chance.choices("abcé€\n", k=chance.randint(1, 4)))
            for _ in range(chance.randint(0, 3))
        ]
        pieces = cut(data, chance)
        sent, stream = feed(pieces, stops)
        assert ("".join(sent), stream.stop) == reference(data, stops), (pieces, stops)


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_sent_that_could_still_be_a_stop(seed: int) -> None:
    """Every prefix of what was sent stays right whatever follows."""
    chance = random.Random(seed)
    data = bytes(chance.choices(b"ab", k=12))
    stops = ["abab", "bb"]
    pieces = cut(data, chance)
    sent, _ = feed(pieces, stops)
    for n in range(len(pieces)):
        so_far = "".join(sent[: n + 1])
        for tail in (b"", b"a", b"b", b"ab", b"bab", b"bb"):
            expected, _ = reference(b"".join(pieces[: n + 1]) + tail, stops)
            assert expected.startswith(so_far)


def test_text_is_sent_as_soon_as_it_is_safe() -> None:
    sent, stream = feed([b"one ", b"EN", b"ough ", b"EN", b"D", b" more"], ["END"])
    assert sent == ["one ", "", "ENough ", "", "", "", ""]
    assert stream.stop == "END"


def test_a_character_is_sent_whole() -> None:
    euro = "€".encode()
    sent, _ = feed([b"a" + euro[:1], euro[1:2], euro[2:], b"b"], [])
    assert sent == ["a", "", "€", "b", ""]


def test_half_a_character_at_the_end_is_replaced() -> None:
    sent, _ = feed([b"a", "€".encode()[:2]], [])
    assert "".join(sent) == "a\ufffd"


def test_kept_bytes_end_at_the_stop() -> None:
    _, stream = feed([b"abc", b"STOP", b"def"], ["STOP"])
    assert (stream.n_kept_bytes, stream.n_bytes) == (3, 7)


def test_the_earlier_of_two_stops_wins() -> None:
    sent, stream = feed([b"xabcd"], ["abcd", "bc"])
    assert ("".join(sent), stream.stop) == ("xa", "bc")


def test_empty_stops_are_ignored() -> None:
    sent, stream = feed([b"text"], [""])
    assert ("".join(sent), stream.stop) == ("text", None)


def test_pieces_are_asked_once() -> None:
    vocabulary = ByteVocabulary([b"a", b"b"])
    pieces = Pieces(vocabulary)
    assert pieces.join([0, 1, 0, 0, 1]) == b"abaab"
    assert vocabulary.n_asked == 2
