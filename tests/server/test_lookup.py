"""Guesses from a request's own tokens."""

import random

from pannier.server import lookup
from pannier.server.lookup import Lookup


def guess_of(text, n=4, n_compared=4):
    return "".join(Lookup(n, n_compared).guess(list(text), n))


def test_what_followed_the_same_tokens_may_follow_again():
    assert guess_of("the cat sat. the c") == "at s"


def test_nothing_is_guessed_where_no_pair_occurred_before():
    for text in ("", "a", "ab", "abcdef", "abab"[:3], "xay"):
        assert guess_of(text) == ""


def test_the_longest_match_wins_then_the_latest():
    assert guess_of("1abX 2abY 1ab", 1) == "X"
    assert guess_of("1abX 1abY 1ab", 1) == "Y"
    assert guess_of("1abX 2abY 1ab", 1, n_compared=2) == "Y"


def test_a_loop_goes_on_beyond_what_there_is():
    assert guess_of("abcabc", 7) == "abcabca"
    assert guess_of("aaa", 3) == "aaa"


def test_the_index_grows_with_the_tokens():
    """Asked after each token or after many, it says the same, and what a search would."""
    rng = random.Random(3)
    tokens = rng.choices(range(6), k=400)
    grown = Lookup(5, 4)
    for n in range(2, len(tokens)):
        if rng.random() < 0.6:
            guess = grown.guess(tokens[:n], 5)
            assert guess == Lookup(5, 4).guess(tokens[:n], 5)
            pair = tokens[n - 2 : n]
            places = [i for i in range(2, n) if tokens[i - 2 : i] == pair]
            assert bool(guess) == bool(places)
            assert not places or guess[0] in {tokens[i] for i in places}


def test_what_is_far_behind_is_forgotten(monkeypatch):
    monkeypatch.setattr(lookup, "MOST_INDEXED", 50)
    grown = Lookup(4, 4)
    tokens = [1, 2, 3, 4, 5]
    for token in range(10, 300):
        tokens.append(token)
        grown.guess(tokens, 4)
        assert len(grown._last) <= 100
    assert grown.guess([*tokens, 1, 2], 4) == []
    assert grown.guess([*tokens, 1, 2, 290, 291], 2) == [292, 293]


def test_guesses_grow_while_they_come_true_and_shrink_when_not():
    text = list("abcdefghijklmnop" * 4)
    one = Lookup(8, 4)
    assert len(one.guess(text, 8)) == 8
    one.note(64, 8, 2)
    assert len(one.guess(text, 8)) == 5
    one.note(64, 5, 0)
    assert len(one.guess(text, 8)) == 1
    one.note(64, 1, 1)
    assert len(one.guess(text, 8)) == 3
    one.note(64, 2, 2)  # there was no room for three
    assert len(one.guess(text, 8)) == 5


def test_after_wrong_guesses_in_a_row_there_is_a_pause():
    text = list("ab" * 100)
    one = Lookup(8, 4)
    for n in (100, 101, 102):
        assert one.guess(text[:n], 8)
        one.note(n, 8, 0)
    asked = [bool(one.guess(text[:n], 8)) for n in range(103, 140)]
    assert asked.index(True) == 102 + lookup.PAUSE - 103
