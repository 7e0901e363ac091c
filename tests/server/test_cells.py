"""The tree of cells against sequences that are plain lists."""

from __future__ import annotations

import random

import pytest

from pannier.server.cells import CellTree, n_common


def test_a_fork_shares_cells_until_both_go_on():
    tree = CellTree()
    tree.extend(0, [1, 2, 3, 4])
    tree.fork(0, 1, 3)
    assert (tree.n_cells, tree.n_own(0), tree.n_own(1)) == (4, 1, 0)
    tree.extend(1, [9, 9])
    assert tree.tokens(1) == [1, 2, 3, 9, 9]
    assert tree.tokens(0) == [1, 2, 3, 4]
    assert tree.n_held([0, 1]) == tree.n_cells == 6
    tree.drop(0)
    assert tree.n_cells == 5


def test_the_longest_match_names_all_who_hold_it():
    tree = CellTree()
    tree.extend(0, [1, 2, 3])
    tree.fork(0, 1, 2)
    tree.extend(1, [7])
    tree.extend(2, [1, 2, 8, 8])
    assert tree.match([1, 2, 3, 4]) == (3, {0})
    assert tree.match([1, 2, 8, 8, 8]) == (4, {2})
    assert tree.match([5]) == (0, set())
    n, holders = tree.match([1, 2, 6])
    assert n == 2
    assert holders in ({0, 1}, {2})


@pytest.mark.parametrize("n", [0, 1, 2, 7, 99, 100])
def test_common_tokens_are_counted_from_any_start(n):
    tokens = list(range(100))
    run = tokens[:n] + [-1] * (100 - n)
    assert n_common(run, [5, 5, *tokens], 2) == n


@pytest.mark.parametrize("seed", range(30))
def test_random_changes(seed):
    rng = random.Random(seed)
    tree, lists, cells, n_made = CellTree(), {}, {}, 0
    for _ in range(300):
        seq = rng.randrange(6)
        action = rng.random()
        if action < 0.5:
            tokens = rng.choices(range(3), k=rng.randrange(1, 6))
            tree.extend(seq, tokens)
            lists.setdefault(seq, []).extend(tokens)
            cells.setdefault(seq, []).extend(range(n_made, n_made + len(tokens)))
            n_made += len(tokens)
        elif action < 0.75 and seq in lists:
            target = rng.randrange(6)
            if target not in lists:
                n = rng.randrange(1, len(lists[seq]) + 1)
                tree.fork(seq, target, n)
                lists[target], cells[target] = lists[seq][:n], cells[seq][:n]
        elif action < 0.85 and seq in lists:
            n = rng.randrange(len(lists[seq]) + 1)
            tree.cut(seq, n)
            lists[seq], cells[seq] = lists[seq][:n], cells[seq][:n]
            if n == 0:
                del lists[seq], cells[seq]
        else:
            tree.drop(seq)
            lists.pop(seq, None)
            cells.pop(seq, None)
        for other in range(6):
            assert tree.tokens(other) == lists.get(other, [])
            rest = {cell for s, held in cells.items() if s != other for cell in held}
            assert tree.n_own(other) == len(set(cells.get(other, [])) - rest)
        assert tree.n_cells == len({cell for held in cells.values() for cell in held})
