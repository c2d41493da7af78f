from __future__ import annotations

import pytest

from explorer.core.token_kinds import KINDS, token_kinds
from explorer.core.token_search import TokenIndex
from explorer.core.vectors import parse_sum

PIECES = ("<pad>", "▁king", "▁kings", "king", "12", "▁a.b", "x\ny", "##ing", "▁Король", "!")


def test_that_exact_pieces_come_first_then_short_ones() -> None:
    assert TokenIndex(PIECES).find("king") == (3, 1, 2)
    assert TokenIndex(PIECES).find("KING", limit=1) == (3,)


def test_that_a_number_names_an_id_and_is_a_text_too() -> None:
    assert TokenIndex(PIECES).find("1") == (1, 4)
    assert TokenIndex(PIECES).find("#4") == (4,)
    assert TokenIndex(PIECES).find("#400") == ()


def test_that_a_text_is_taken_letter_for_letter_and_slashes_make_an_expression() -> None:
    assert TokenIndex(PIECES).find("a.b") == (5,)
    assert TokenIndex(PIECES).find("/^.kings?$/") == (1, 2)
    with pytest.raises(ValueError, match="regular expression"):
        TokenIndex(PIECES).find("/king(/")


def test_that_a_line_break_in_a_piece_does_not_shift_the_ids() -> None:
    assert TokenIndex(PIECES).find("!") == (9,)
    assert TokenIndex(PIECES).find("") == ()


def test_that_kinds_are_told_by_the_characters() -> None:
    kinds = [KINDS[kind] for kind in token_kinds(PIECES[:7] + PIECES[8:], frozenset({0}))]
    assert kinds == [
        "special",
        "word start",
        "word start",
        "continuation",
        "digits",
        "word start",
        "continuation",
        "other script",
        "punctuation",
    ]
    wordpiece = token_kinds(("king", "##ing"), frozenset())
    assert [KINDS[kind] for kind in wordpiece] == ["word start", "continuation"]


def test_that_a_sum_is_read_word_by_word() -> None:
    assert parse_sum("king - man + woman") == (("king", "woman"), ("man",))
    assert parse_sum(" - man + well-known") == (("well-known",), ("man",))
    assert parse_sum("king") == (("king",), ())


@pytest.mark.parametrize("text", ["", "king +", "+ + king", "king man", "- "])
def test_that_what_is_no_sum_is_an_error_that_shows_how(text: str) -> None:
    with pytest.raises(ValueError, match="king - man"):
        parse_sum(text)
