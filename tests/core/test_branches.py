from __future__ import annotations

import dataclasses

import pytest

from explorer.core.branches import EMPTY, ROOT, Node, RunTree
from tests.support import make_run

# 0 - 1 - 2 - 3
#      \- 4 - 5
#      \- 6
TREE = RunTree(tuple(Node(i, parent, None) for i, parent in enumerate([0, 0, 1, 2, 1, 4, 1])), current=5)


def test_that_a_path_goes_from_the_first_step_to_the_node() -> None:
    assert TREE.path(5) == (1, 4, 5)
    assert TREE.path(ROOT) == ()


def test_that_children_and_ends_stand_in_the_order_in_which_they_were_reached() -> None:
    assert TREE.children == ((1,), (2, 4, 6), (3,), (), (5,), (), ())
    assert TREE.ends == (3, 5, 6)
    assert EMPTY.ends == ()


def test_that_a_branch_ends_along_its_newest_children() -> None:
    assert [TREE.end_of(node) for node in range(7)] == [6, 6, 3, 3, 5, 5, 6]


@pytest.mark.parametrize("steps", [0, 1, 4])
def test_that_a_snapshot_made_by_hand_is_a_straight_line(steps: int) -> None:
    run = make_run(steps)
    assert run.nodes == tuple(range(1, steps + 1))
    assert [run.tree.nodes[node].step for node in run.nodes] == list(run.steps)


def test_that_a_snapshot_whose_steps_are_exchanged_does_not_keep_a_tree_that_ends_elsewhere() -> None:
    run = make_run(4)
    shorter = dataclasses.replace(run, steps=run.steps[:2])
    assert len(shorter.tree.nodes) == 3
    assert shorter.nodes == (1, 2)
    kept = dataclasses.replace(run, text="another")
    assert kept.tree is run.tree
