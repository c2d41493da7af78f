from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from explorer.core.records import CellReading
from explorer.core.selection import HeadRef
from explorer.core.weight_steps import (
    extremes,
    largest_magnitude,
    number,
    slot_starts,
    strongest,
    weight_terms,
)

FLOATS = st.floats(-100, 100, width=32)


def make_cell(**changes: Any) -> CellReading:
    rng = np.random.default_rng(1)
    query, key = rng.normal(size=(2, 16)).astype(np.float32)
    raw, scaling = float(query @ key), 0.25
    bias, softcap = changes.get("bias", 0.0), changes.get("softcap")
    score = raw * scaling + bias
    if softcap is not None:
        score = softcap * math.tanh(score / softcap)
    score = -math.inf if changes.get("masked") else score + changes.pop("added", 0.0)
    row_scores = np.array([1.0, score, -0.5], dtype=np.float32)
    row_weights = np.exp(row_scores) / np.exp(row_scores).sum()
    values = rng.normal(size=(3, 16)).astype(np.float32)
    fields = {
        "head": HeadRef("encoder", 0, 0), "row": 0, "column": 1, "query": query, "key": key, "raw_score": raw,
        "scaling": scaling, "bias": 0.0, "softcap": None, "masked": False, "row_scores": row_scores,
        "row_weights": row_weights, "values": values, "output": row_weights @ values,
    }  # fmt: skip
    return CellReading(**(fields | changes))


def said(cell: CellReading) -> dict[str, str]:
    return {term.name: term.text() for term in weight_terms(cell)}


@pytest.mark.parametrize("changes", [{}, {"bias": -1.5}, {"softcap": 0.5}, {"bias": 2.0, "softcap": 3.0}])
def test_that_following_the_steps_gives_the_score(changes: dict[str, float]) -> None:
    cell = make_cell(**changes)
    value = 0.0
    for term in weight_terms(cell):
        if term.name == "score":
            assert term.value == pytest.approx(value, abs=1e-5)
        elif term.value is not None:
            value = {"×": value * term.value, "+": value + term.value}.get(term.operator, term.value)
    assert value == cell.weight


def test_that_what_a_family_does_not_have_is_said_to_be_missing() -> None:
    words = said(make_cell())
    assert words["position bias"] == "none"
    assert words["mask"] == "may look"
    assert not any("soft cap" in name for name in words)


def test_that_a_masked_key_scores_minus_infinity_and_weighs_nothing() -> None:
    words = said(make_cell(masked=True))
    assert (words["mask"], words["score"], words["weight"]) == ("masked", "−∞", "0")


def test_that_a_mask_that_adds_a_number_is_shown_as_one() -> None:
    terms = {term.name: term for term in weight_terms(make_cell(added=-3.0))}
    assert terms["mask"].operator == "+"
    assert terms["mask"].value == pytest.approx(-3.0, abs=1e-4)


def test_that_a_bias_that_holds_the_mask_is_no_number() -> None:
    assert said(make_cell(bias=-3.4e38, masked=True))["position bias"] == "in the mask"


def test_that_numbers_have_five_significant_digits_and_a_true_minus() -> None:
    assert number(-0.123456789) == "−0.12346"
    assert number(123456.0, 9) == "123456"
    assert number(-0.0) == "0"


@given(st.integers(1, 500), st.integers(1, 500))
def test_that_slots_share_everything_out_evenly(count: int, slots: int) -> None:
    sizes = np.diff([*slot_starts(count, slots), count])
    assert len(sizes) == min(count, slots)
    assert sizes.min() >= 1
    assert sizes.max() - sizes.min() <= 1


@given(arrays(np.float32, st.integers(1, 60), elements=FLOATS), st.integers(1, 80))
def test_that_a_bar_reaches_from_the_lowest_to_the_highest_of_its_slot(values: Any, slots: int) -> None:
    lows, highs = extremes(values, slots)
    parts = np.split(values, slot_starts(len(values), slots)[1:])
    for low, high, part in zip(lows, highs, parts, strict=True):
        assert low == min(0, part.min())
        assert high == max(0, part.max())


@given(
    arrays(np.float32, st.tuples(st.integers(1, 20), st.integers(1, 20)), elements=FLOATS),
    st.integers(1, 25),
    st.integers(1, 25),
)
def test_that_thinning_keeps_the_strongest_entry(values: Any, rows: int, columns: int) -> None:
    thin = strongest(values, rows, columns)
    assert thin.shape == (min(rows, values.shape[0]), min(columns, values.shape[1]))
    for i, block in enumerate(np.split(values, slot_starts(len(values), rows)[1:], axis=0)):
        for j, cell in enumerate(np.split(block, slot_starts(values.shape[1], columns)[1:], axis=1)):
            assert abs(thin[i, j]) == np.abs(cell).max()
            assert thin[i, j] in cell


def test_that_a_scale_is_never_zero_or_infinite() -> None:
    assert largest_magnitude(np.array([0.0, -np.inf])) == 1.0
    assert largest_magnitude(np.array([-3.0, 2.0])) == 3.0
