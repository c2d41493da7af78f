from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from explorer.core.branch_lanes import run_at
from explorer.core.records import RunSnapshot
from explorer.core.run_comparison import (
    KeptRun,
    align,
    divergence_bits,
    drawn_probabilities,
    overlay,
    own_probabilities,
    same_context,
    total_variation,
)
from explorer.core.sampling import SamplingParams
from tests.support import make_branched_run, make_cloud, make_model, make_run

STEP = make_run(1).steps[0]
distributions = st.lists(st.floats(1e-6, 1.0), min_size=2, max_size=40).map(lambda x: np.array(x) / sum(x))


def kept(run=None, pieces=None, **changes) -> KeptRun:
    model = dataclasses.replace(make_model(), **changes)
    return KeptRun(make_branched_run() if run is None else run, model, pieces)


def test_that_branches_are_aligned_with_their_first_difference() -> None:
    run = make_branched_run()
    other = run_at(run, 9)
    alignment = align(kept(run), kept(other))
    assert alignment.pairs[:5] == ((0, 0), (1, 1), (2, 2), (3, 3), (4, 4))
    assert alignment.equal[:5] == (True, True, False, True, True)
    assert alignment.first_difference == 2
    assert alignment.pairs[5] == (5, None)
    assert same_context(run, 2, other, 2)
    assert not same_context(run, 3, other, 3)


def test_that_another_start_is_another_context() -> None:
    run = make_run(3)
    other = dataclasses.replace(run, start_tokens=(run.steps[0].token,))
    assert same_context(run, 1, dataclasses.replace(run, text="elsewhere"), 1)
    assert not same_context(run, 1, other, 1)


def test_that_the_languages_of_a_run_are_told() -> None:
    run = make_run(3)
    read = dataclasses.replace(run, source=dataclasses.replace(run.source, language="de"))
    assert kept(dataclasses.replace(read, target_language="fr")).summary.startswith(
        "fr-en · float32 · de → fr · "
    )
    assert "de → ?" in kept(read).summary
    assert "→" not in kept(run).summary


def test_that_a_token_more_leaves_a_gap_and_no_shift() -> None:
    run = make_run(5)
    steps = (*run.steps[:1], *run.steps[2:])
    shorter = dataclasses.replace(run, steps=tuple(steps))
    alignment = align(kept(run), kept(shorter))
    assert alignment.pairs == ((0, 0), (1, None), (2, 1), (3, 2), (4, 3))
    assert alignment.place_of(1) == 2
    assert align(kept(run), kept(run)).first_difference is None


@given(st.lists(st.integers(0, 3), max_size=12), st.lists(st.integers(0, 3), max_size=12))
def test_that_every_step_of_both_stands_once_and_in_order(a: list[int], b: list[int]) -> None:
    def with_ids(ids: list[int]) -> RunSnapshot:
        steps = [
            dataclasses.replace(STEP, index=i, token=dataclasses.replace(STEP.token, id=t))
            for i, t in enumerate(ids)
        ]
        return dataclasses.replace(make_run(0), steps=tuple(steps))

    alignment = align(kept(with_ids(a)), kept(with_ids(b)))
    assert [i for i, _ in alignment.pairs if i is not None] == list(range(len(a)))
    assert [j for _, j in alignment.pairs if j is not None] == list(range(len(b)))
    for (i, j), equal in zip(alignment.pairs, alignment.equal, strict=True):
        assert equal == (i is not None and j is not None and a[i] == b[j])
    same = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    first = alignment.first_difference
    assert (len(alignment.pairs) if first is None else first) == (len(a) if a == b else same)


@given(distributions, st.randoms())
def test_that_measures_equal_scipys(p: np.ndarray, random) -> None:
    q = p.copy()
    random.shuffle(q)
    assert total_variation(p, q) == pytest.approx(0.5 * np.abs(p - q).sum())
    assert divergence_bits(p, q) == pytest.approx(max(0.0, stats.entropy(p, q, base=2)), abs=1e-9)
    assert divergence_bits(p, p) == 0.0


def test_that_what_is_cut_makes_the_divergence_infinite_one_way_only() -> None:
    p, q = np.array([0.5, 0.5, 0.0]), np.array([0.25, 0.25, 0.5])
    assert divergence_bits(q, p) == math.inf
    assert divergence_bits(p, q) == pytest.approx(1.0)
    assert total_variation(p, q) == 0.5


def test_that_own_and_drawn_distributions_are_the_steps() -> None:
    step = dataclasses.replace(make_run(3).steps[2], params=SamplingParams(temperature=2.0, top_k=5))
    assert own_probabilities(step)[step.token.id] == pytest.approx(step.probability, abs=1e-6)
    drawn = drawn_probabilities(step)
    assert np.count_nonzero(drawn) == 5
    assert drawn.sum() == pytest.approx(1.0)


def test_that_two_vocabularies_meet_only_in_pieces_that_are_written_the_same() -> None:
    a = kept(pieces=("x", "y", "z"), vocabulary_size=3)
    b = kept(pieces=("z", "w", "x"), vocabulary_size=3, source="elsewhere")
    assert not a.shares_vocabulary(b)
    p, q = np.array([0.6, 0.3, 0.1]), np.array([0.2, 0.7, 0.1])
    bars = {bar.piece: (bar.first, bar.second) for bar in overlay(a, p, b, q, 4)}
    assert bars == {"w": (None, 0.7), "x": (0.6, 0.1), "y": (0.3, None), "z": (0.1, 0.2)}
    assert overlay(a, p, dataclasses.replace(b, pieces=None), q, 4) == ()


def test_that_one_vocabulary_is_compared_by_token_id() -> None:
    pieces = make_cloud().pieces
    a, b = kept(pieces=pieces), kept(pieces=tuple(pieces), dtype="bfloat16")
    assert a.shares_vocabulary(b)
    assert a.shares_vocabulary(kept())
    assert not a.shares_vocabulary(kept(source="elsewhere"))
    p = own_probabilities(a.run.steps[0])
    bars = overlay(a, p, b, p[::-1].copy(), 6)
    assert len(bars) == 6
    assert max(bars[0].first or 0, bars[0].second or 0) == pytest.approx(p.max())
