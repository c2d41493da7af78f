from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from explorer.core.attention_view import merge_words, visible_map, word_starts
from explorer.core.tokens import Token


def softmax_rows(scores: np.ndarray) -> np.ndarray:
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


MAPS = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    elements=st.floats(-20, 20),
).map(softmax_rows)


def test_that_an_untouched_map_is_the_models_own_array():
    weights = softmax_rows(np.arange(6.0).reshape(2, 3))
    seen = visible_map(weights, np.zeros(2, bool), np.zeros(3, bool), renormalise=True)
    assert seen.weights is weights
    assert seen.mean_hidden_mass == 0.0


@given(MAPS, st.data())
def test_that_what_is_drawn_and_what_is_hidden_add_up(weights, data):
    hidden = np.array(
        data.draw(st.lists(st.booleans(), min_size=weights.shape[1], max_size=weights.shape[1]))
    )
    seen = visible_map(weights, None, hidden)
    np.testing.assert_array_equal(seen.weights, weights[:, ~hidden])
    np.testing.assert_allclose(
        seen.row_sums + seen.hidden_mass, weights.sum(axis=1, dtype=np.float64), atol=1e-12
    )


@given(MAPS, st.data())
def test_that_renormalised_rows_sum_to_one_or_are_empty(weights, data):
    count = weights.shape[1]
    hidden = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    seen = visible_map(weights, None, hidden, renormalise=True)
    visible = weights[:, ~hidden].sum(axis=1)
    np.testing.assert_allclose(seen.row_sums[visible > 0], 1.0, atol=1e-5)
    assert (seen.row_sums[visible == 0] == 0).all()
    np.testing.assert_allclose(seen.hidden_mass, weights[:, hidden].sum(axis=1, dtype=np.float64), atol=1e-12)


def test_that_hidden_rows_leave_and_their_indices_tell_which_stayed():
    weights = softmax_rows(np.arange(12.0).reshape(4, 3))
    seen = visible_map(weights, np.array([True, False, True, False]))
    assert seen.rows.tolist() == [1, 3]
    np.testing.assert_array_equal(seen.weights, weights[[1, 3]])


def test_that_a_map_without_rows_has_nothing_hidden():
    seen = visible_map(np.zeros((0, 5), np.float32), None, np.array([True, False, False, False, False]))
    assert seen.weights.shape == (0, 4)
    assert seen.mean_hidden_mass == 0.0


def token(piece: str, text: str | None = None, span: tuple[int, int] | None = None, special: bool = False):
    return Token(1, piece, piece if text is None else text, span, special)


CLS, SEP = token("[CLS]", special=True), token("[SEP]", special=True)
SENTENCEPIECE = [token("▁J'"), token("aime"), token("▁l'"), token("app"), token("."), SEP]
BYTE_LEVEL = [token("The"), token("Ġcat", " cat"), token("s"), token("Ċ", "\n"), token("No")]
PLAYING = [token("play", span=(0, 4)), token("##ing", span=(4, 7))]
WORDPIECE = [CLS, *PLAYING, token("now", span=(8, 11)), token("!", span=(11, 12)), SEP]


@pytest.mark.parametrize(
    ("tokens", "starts"),
    [
        (SENTENCEPIECE, [0, 2, 5]),
        (BYTE_LEVEL, [0, 1, 3, 4]),
        (WORDPIECE, [0, 1, 3, 5]),
        ([token("▁", ""), token("日本"), token("▁a")], [0, 2]),
        ([token("a"), None, token("b")], [0, 1, 2]),
        ([], []),
    ],
)
def test_that_words_are_what_stands_between_blanks(tokens, starts):
    np.testing.assert_array_equal(word_starts(tokens), starts)


@given(MAPS, st.data())
def test_that_merging_sums_keys_averages_queries_and_keeps_row_sums(weights, data):
    def some_starts(count: int) -> np.ndarray:
        inner = data.draw(st.sets(st.integers(1, count - 1))) if count > 1 else set()
        return np.array([0, *sorted(inner)], dtype=np.intp)

    rows, columns = some_starts(weights.shape[0]), some_starts(weights.shape[1])
    merged = merge_words(weights, rows, columns)
    assert merged.shape == (len(rows), len(columns))
    np.testing.assert_allclose(merged.sum(axis=1), 1.0, atol=1e-5)
    for i, row_block in enumerate(np.split(weights, rows[1:], axis=0)):
        for j, block in enumerate(np.split(row_block, columns[1:], axis=1)):
            expected = block.astype(np.float64).sum(axis=1).mean()
            assert merged[i, j] == np.float32(expected) or abs(merged[i, j] - expected) < 1e-6


def test_that_an_empty_map_stays_empty():
    empty = np.zeros(0, dtype=np.intp)
    assert merge_words(np.zeros((0, 3), np.float32), empty, np.array([0, 1])).shape == (0, 2)
