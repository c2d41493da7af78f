from __future__ import annotations

import numpy as np
import pytest

from explorer.core import head_measures as hm

NONE = np.zeros(4, dtype=bool)


def one_head(rows: list[list[float]]) -> np.ndarray:
    return np.array(rows, dtype=np.float32)[None, None]


def measured(
    weights: np.ndarray, *, special=NONE, punctuation=NONE, same_axes: bool = True
) -> dict[str, float]:
    found = hm.head_measures(weights, special=special, punctuation=punctuation, same_axes=same_axes)
    return {measure.name: float(values[0, 0]) for measure, values in found.items()}


def test_that_looking_at_oneself_is_told_from_looking_back():
    self_looking = measured(one_head(np.eye(4).tolist()))
    assert self_looking["to itself"] == 1.0
    assert self_looking["distance"] == 0.0
    back = np.eye(4, k=-1)
    back[0, 0] = 1.0
    looking_back = measured(one_head(back.tolist()))
    assert looking_back["to the previous token"] == 0.75
    assert looking_back["distance"] == 0.75


def test_that_entropy_is_in_bits():
    assert measured(one_head(np.full((4, 4), 0.25).tolist()))["entropy"] == pytest.approx(2.0)
    assert measured(one_head(np.eye(4).tolist()))["entropy"] == 0.0
    assert measured(one_head([[0.5, 0.5, 0, 0]] * 4))["entropy"] == pytest.approx(1.0)


def test_that_weight_on_first_special_and_punctuation_tokens_is_counted():
    weights = one_head([[0.1, 0.2, 0.3, 0.4]] * 4)
    found = measured(
        weights,
        special=np.array([True, False, False, True]),
        punctuation=np.array([False, False, True, False]),
    )
    assert found["to the first token"] == pytest.approx(0.1)
    assert found["to special tokens"] == pytest.approx(0.5)
    assert found["to punctuation"] == pytest.approx(0.3)


def test_that_a_diagonal_between_sentences_of_unequal_length_is_found():
    along = np.zeros((3, 4), np.float32)
    along[0, 0] = along[2, 3] = 1.0
    along[1, 1] = along[1, 2] = 0.5
    assert measured(along[None, None], same_axes=False)["diagonal"] == pytest.approx(1 - (1 / 6) / 3)
    far = np.zeros((2, 4), np.float32)
    far[0, 3] = far[1, 0] = 1.0
    assert measured(far[None, None], same_axes=False)["diagonal"] == 0.0


def test_that_measures_of_place_are_left_out_where_axes_differ():
    found = measured(one_head([[0.25] * 4] * 2), same_axes=False)
    assert not {"to itself", "to the previous token", "distance"} & set(found)
    assert "diagonal" not in measured(one_head(np.eye(4).tolist()))


def test_that_every_head_is_measured_on_its_own():
    rng = np.random.default_rng(0)
    weights = rng.dirichlet(np.ones(5), size=(3, 2, 6)).astype(np.float32)
    flags = np.array([True, False, True, False, False])
    found = hm.head_measures(weights, special=flags, punctuation=~flags, same_axes=False)
    for layer in range(3):
        for head in range(2):
            alone = weights[layer, head].astype(np.float64)
            entropy = -(alone * np.log2(alone)).sum(axis=1).mean()
            assert found[hm.ENTROPY][layer, head] == pytest.approx(entropy, abs=1e-6)
            special = alone[:, flags].sum(axis=1).mean()
            assert found[hm.TO_SPECIAL][layer, head] == pytest.approx(special, abs=1e-6)


@pytest.mark.parametrize("shape", [(2, 2, 0, 4), (2, 2, 4, 0)])
def test_that_nothing_is_measured_where_nothing_is(shape):
    flags = np.zeros(shape[3], dtype=bool)
    weights = np.zeros(shape, np.float32)
    assert hm.head_measures(weights, special=flags, punctuation=flags, same_axes=True) == {}


def test_that_one_query_and_one_key_are_measured():
    found = measured(one_head([[1.0]]), special=np.array([False]), punctuation=np.array([False]))
    assert found["to itself"] == 1.0
    assert found["to the previous token"] == 0.0
    crossed = measured(
        one_head([[1.0]]), special=np.array([False]), punctuation=np.array([False]), same_axes=False
    )
    assert crossed["diagonal"] == 1.0


def test_that_heads_are_ranked_largest_first_and_ties_keep_their_order():
    assert hm.ranked_heads(np.array([[0.1, 0.5], [0.5, 0.9]])) == [(1, 1), (0, 1), (1, 0), (0, 0)]


def test_that_punctuation_is_known_with_and_without_a_word_mark():
    assert all(hm.is_punctuation(text) for text in (".", "▁«", "Ġ,", " ?!", "…"))
    assert not any(hm.is_punctuation(text) for text in ("", "▁", "a.", "</s>", "3", "l'", "$"))


def test_that_a_filter_keeps_its_threshold_on_either_side():
    values = np.array([[0.1, 0.5], [0.5, 0.9]])
    measures = {hm.TO_FIRST: values}
    at_least = hm.HeadFilter("to the first token", True, 0.5).passing(measures)
    np.testing.assert_array_equal(at_least, [[False, True], [True, True]])
    at_most = hm.HeadFilter("to the first token", False, 0.5).passing(measures)
    np.testing.assert_array_equal(at_most, [[True, True], [True, False]])
    assert hm.HeadFilter("entropy", True, 0.5).passing(measures) is None
