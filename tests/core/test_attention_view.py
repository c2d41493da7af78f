from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from explorer.core.attention_view import visible_map


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
