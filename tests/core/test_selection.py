from __future__ import annotations

from explorer.core.selection import NOTHING, Selection, TokenRef

A, B, C, D = (TokenRef("source", i) for i in range(4))


def test_that_picks_add_up_to_a_pair_and_then_to_more() -> None:
    selection = NOTHING.with_pick(A).with_pick(B)
    assert selection == Selection(A, B)
    selection = selection.with_pick(C).with_pick(D)
    assert selection.refs == (A, B, C, D)
    assert selection.ends == (A, B)


def test_that_a_second_pick_drops_it_and_the_next_one_moves_up() -> None:
    selection = Selection.of((A, B, C)).with_pick(B)
    assert selection == Selection(A, C)
    assert selection.with_pick(A) == Selection(C)
    assert Selection(A).with_pick(A) == NOTHING
