from __future__ import annotations

from explorer.core.beam_lanes import hypothesis_at, lay_out_search, sums
from explorer.core.beams import BeamSearch, BeamStep, Hypothesis
from explorer.core.branches import ROOT, Node, RunTree

# 1 and 2 begin; 1 goes on to 3 and 4; 3 ends in 5, 4 in 6; 2 is dropped; 7 was never searched.
PARENTS = [0, 0, 1, 1, 3, 4, 1]
TREE = RunTree((Node(ROOT, ROOT, None), *(Node(i + 1, p, None) for i, p in enumerate(PARENTS))))
SEARCH = BeamSearch(
    1,
    2,
    1.0,
    (
        BeamStep((1, 2), (-0.5, -1.5)),
        BeamStep((3, 4), (-1.0, -1.2)),
        BeamStep((), (), (6, 5)),
    ),
    (
        Hypothesis(6, (1, 4, 6), "best", -1.3, -0.43, True),
        Hypothesis(5, (1, 3, 5), "second", -2.0, -0.67, True),
    ),
)


def test_that_the_best_hypothesis_stands_whole_in_the_first_row() -> None:
    layout = lay_out_search(SEARCH, TREE)
    assert [lane.nodes for lane in layout.lanes] == [(1, 4, 6), (3, 5), (2,)]
    assert 7 not in layout.row_of
    results = lay_out_search(SEARCH, TREE, dropped=False)
    assert [lane.nodes for lane in results.lanes] == [(1, 4, 6), (3, 5)]


def test_that_sums_and_ranks_are_those_of_the_search() -> None:
    assert sums(SEARCH) == {1: -0.5, 2: -1.5, 3: -1.0, 4: -1.2, 5: -2.0, 6: -1.3}
    assert hypothesis_at(SEARCH, 5) == (1, SEARCH.hypotheses[1])
    assert hypothesis_at(SEARCH, 4) is None
