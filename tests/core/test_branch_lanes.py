from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from explorer.core.branch_lanes import LaneLayout, lane_name, lay_out
from explorer.core.branches import ROOT, Node, RunTree


@st.composite
def trees(draw: st.DrawFn) -> RunTree:
    count = draw(st.integers(0, 40))
    parents = [draw(st.integers(0, i)) for i in range(count)]
    nodes = [Node(ROOT, ROOT, None), *(Node(i + 1, parent, None) for i, parent in enumerate(parents))]
    return RunTree(tuple(nodes))


def depth(tree: RunTree, node: int) -> int:
    return len(tree.path(node)) - 1


@given(trees())
def test_that_every_node_stands_once_at_its_step(tree: RunTree) -> None:
    layout = lay_out(tree.children)
    placed = [node for lane in layout.lanes for node in lane.nodes]
    assert sorted(placed) == list(range(1, len(tree.nodes)))
    assert len(layout.lanes) == len(tree.ends)
    for lane in layout.lanes:
        for place, node in enumerate(lane.nodes):
            assert depth(tree, node) == lane.column + place
            assert lane.node_at(lane.column + place) == node
        for before, after in itertools.pairwise(lane.nodes):
            assert tree.nodes[after].parent == before
    assert layout.columns == max((depth(tree, n) + 1 for n in range(1, len(tree.nodes))), default=0)


@given(trees())
def test_that_no_forks_line_runs_through_another_rows_steps(tree: RunTree) -> None:
    layout = lay_out(tree.children)
    for row, lane in enumerate(layout.lanes):
        if lane.parent_row is None:
            assert lane.column == 0
            continue
        assert lane.parent_row < row
        assert layout.lanes[lane.parent_row].node_at(lane.column - 1) == tree.nodes[lane.nodes[0]].parent
        for between in layout.lanes[lane.parent_row + 1 : row]:
            assert between.column >= lane.column


def test_that_letters_follow_the_order_in_which_branches_came_to_be() -> None:
    # 1-2-3, then 4 after 1, then 5 after 2: the later fork lies above the earlier one.
    parents = [0, 1, 2, 1, 2]
    tree = RunTree((Node(0, 0, None), *(Node(i + 1, p, None) for i, p in enumerate(parents))), names={4: "x"})
    layout = lay_out(tree.children)
    assert [lane.nodes for lane in layout.lanes] == [(1, 2, 3), (5,), (4,)]
    assert layout.letters == ("A", "C", "B")
    assert [lane_name(tree, lane) for lane in layout.lanes] == ["", "", "x"]
    wide = LaneLayout(tuple(layout.lanes[:1]) * 28)
    assert wide.letters[25:28] == ("Z", "AA", "AB")
