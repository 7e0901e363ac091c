"""The arithmetic of sharing: nothing is lost, nothing counts twice."""

from __future__ import annotations

import random
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pannier.ledger import CellBook
from pannier.server.cells import CellTree
from pannier.sharing import CellGroup, shares

GROUPS = st.lists(
    st.builds(
        CellGroup,
        kind=st.sampled_from(["kv", "window"]),
        n_cells=st.integers(0, 10**6),
        cell_bytes=st.integers(1, 10**5),
        holders=st.sets(st.integers(0, 255), min_size=1, max_size=20).map(
            lambda found: tuple(sorted(found))
        ),
    ),
    max_size=30,
)


@given(GROUPS)
def test_shares_add_up_and_are_fair(groups: list[CellGroup]) -> None:
    found = shares(groups)
    assert sum(share.owned_bytes for share in found.values()) == sum(g.n_bytes for g in groups)
    for holder, share in found.items():
        held = [group for group in groups if holder in group.holders]
        fair = sum(Fraction(group.n_bytes, len(group.holders)) for group in held)
        assert abs(share.owned_bytes - fair) < len(held)
        assert share.whole_bytes == sum(group.n_bytes for group in held)
        assert share.private_bytes == sum(g.n_bytes for g in held if len(g.holders) == 1)
        assert share.n_cells == sum(group.n_cells for group in held)
        assert share.n_cells_shared == sum(g.n_cells for g in held if len(g.holders) > 1)
        assert share.private_bytes <= share.owned_bytes <= share.whole_bytes


@given(GROUPS, st.integers(0, 8), st.integers(1, 10**4))
def test_a_book_adds_up(groups: list[CellGroup], n_rollback: int, plane_bytes: int) -> None:
    state_bytes = plane_bytes * (1 + n_rollback)
    states = [CellGroup("state", 1, state_bytes, (3 * i, 3 * i + 1)) for i in range(5)]
    book = CellBook([*groups, *states], n_rollback)
    rows = [book.of(seq, (0, 0)) for seq in range(256)]
    assert sum(row.owned_bytes for row in rows) == sum(g.n_bytes for g in [*groups, *states])
    assert sum(row.recurrent_bytes for row in rows) == 5 * plane_bytes
    assert sum(row.rollback_bytes for row in rows) == 5 * plane_bytes * n_rollback
    assert [row.seq_id for row in rows if row.recurrent_shared] == [0, 1, 3, 4, 6, 7, 9, 10, 12, 13]
    full = [group for group in groups if group.kind == "kv"]
    assert [row.n_cells for row in rows] == [
        sum(group.n_cells for group in full if row.seq_id in group.holders) for row in rows
    ]


@pytest.mark.parametrize("seed", range(20))
def test_the_schedulers_shares_are_those_of_its_cells(seed: int) -> None:
    """Beside a memory whose cells are counted one by one."""
    rng = random.Random(seed)
    tree = CellTree()
    held: dict[int, list[object]] = {}
    for _ in range(300):
        seq = rng.randrange(8)
        if rng.random() < 0.5:
            n = rng.randrange(1, 9)
            tree.extend(seq, [rng.randrange(5) for _ in range(n)])
            held.setdefault(seq, []).extend(object() for _ in range(n))
        elif seq in held and rng.random() < 0.7:
            n = rng.randrange(len(held[seq]) + 1)
            tree.cut(seq, n)
            held[seq] = held[seq][:n]
        elif held:
            source = rng.choice(list(held))
            tree.drop(seq)
            cells = held[source]
            if source != seq and cells:
                n = rng.randrange(1, len(cells) + 1)
                tree.fork(source, seq, n)
                held[seq] = cells[:n]
            else:
                held.pop(seq, None)
        held = {seq: cells for seq, cells in held.items() if cells}
        sharers = Counter(id(cell) for cells in held.values() for cell in cells)
        for one in range(8):
            fair = sum(1 / sharers[id(cell)] for cell in held.get(one, ()))
            assert tree.n_share(one) == pytest.approx(fair)
