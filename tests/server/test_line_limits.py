"""Where lines end an answer."""

from __future__ import annotations

import pytest

from pannier.server.line_limits import LineLimits


def ended(limits: LineLimits, *pieces: bytes) -> int:
    """Tokens until the answer ends; -1: it does not."""
    return next((n for n, piece in enumerate(pieces, 1) if limits.ends(piece, 1.0)), -1)


CODE = (b"if x:", b"\n", b"    ", b"y", b"\n", b"  ", b"z")


@pytest.mark.parametrize(
    ("n_indent", "n_tokens", "kept"), [(0, -1, None), (1, -1, None), (3, 7, 14), (5, 4, 10)]
)
def test_a_line_that_begins_too_early(n_indent: int, n_tokens: int, kept: int | None) -> None:
    limits = LineLimits(n_indent, 0)
    assert ended(limits, *CODE) == n_tokens
    assert limits.n_kept_bytes == kept


def test_tabs_count_like_spaces_and_an_empty_line_has_none() -> None:
    assert ended(LineLimits(2, 0), b"a\n", b"\t\tb", b"\n", b"\t \tc") == -1
    assert ended(LineLimits(1, 0), b"a\n", b" b\n", b"\n", b" c") == 4


def test_time_ends_it_at_a_new_line_only() -> None:
    limits = LineLimits(0, 0.5)
    assert not limits.ends(b"a", 2.0)
    assert not limits.ends(b"b\n", 0.4)
    assert not limits.ends(b"c", 2.0)
    assert limits.ends(b"d\n", 2.0)
    assert limits.n_kept_bytes is None
