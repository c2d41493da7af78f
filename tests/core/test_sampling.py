"""Reshaping, held to transformers' own processors and to a float64 reading of their definitions."""

from __future__ import annotations

import itertools
import math
import threading

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from transformers.generation.logits_process import (
    LogitsProcessorList,
    MinPLogitsWarper,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

import explorer
from explorer.core.penalties import apply_penalties
from explorer.core.sampling import (
    GREEDY,
    Distribution,
    LogitsError,
    RankedLogits,
    SamplingParams,
    reshape,
)

TOLERANCE = 1e-6
# How far a cumulative float32 sum of a few dozen probabilities may stand from the exact one.
ROUNDING = 2e-6

NICE = (0.0, -0.0, 1.0, 1.0, 2.0, -3.0, 10.0, -100.0, 88.7, 1e-30, -1e-38, 3e38, -3e38, -math.inf)
numbers = st.one_of(
    st.floats(-30.0, 30.0, width=32),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.sampled_from(NICE),
)
# Torch sorts up to 16 entries stably: there the members of a tie that top-p keeps are defined.
short_logits = st_numpy.arrays(np.float32, st.integers(1, 16), elements=numbers).filter(
    lambda logits: bool((logits > -np.inf).any())
)
fractions = st.one_of(st.sampled_from((0.0, 0.5, 0.9, 0.95, 0.999, 1.0)), st.floats(0.0, 1.0))
all_params = st.builds(
    SamplingParams,
    temperature=st.one_of(st.sampled_from((1.0, 0.5, 2.0, 1e-6, 1e6)), st.floats(0.05, 10.0)),
    top_k=st.none() | st.integers(0, 20),
    top_p=st.none() | fractions,
    min_p=st.none() | fractions,
    typical_p=st.none() | st.floats(0.01, 1.0),
)


def transformers_chain(params: SamplingParams) -> LogitsProcessorList:
    """The processors that ``generate`` builds for ``params``, in its order."""
    chain = LogitsProcessorList()
    if params.repetition_penalty not in (None, 1.0):
        chain.append(RepetitionPenaltyLogitsProcessor(params.repetition_penalty))
    if params.no_repeat_ngram_size:
        chain.append(NoRepeatNGramLogitsProcessor(params.no_repeat_ngram_size))
    if params.temperature != 1.0:
        chain.append(TemperatureLogitsWarper(float(params.temperature)))
    if params.top_k:
        chain.append(TopKLogitsWarper(params.top_k))
    if params.top_p is not None and params.top_p < 1.0:
        chain.append(TopPLogitsWarper(params.top_p))
    if params.min_p:
        chain.append(MinPLogitsWarper(params.min_p))
    if params.typical_p is not None and params.typical_p < 1.0:
        chain.append(TypicalLogitsWarper(params.typical_p))
    return chain


def by_transformers(
    logits: np.ndarray, params: SamplingParams, previous_ids: tuple[int, ...] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """(probabilities, kept) as transformers makes them."""
    ids = torch.tensor([previous_ids], dtype=torch.long)
    scores = transformers_chain(params)(ids, torch.tensor(logits[None]))[0]
    return scores.softmax(dim=-1).numpy(), (scores > -torch.inf).numpy()


def by_definition(
    logits: np.ndarray, params: SamplingParams, shift: tuple[float, ...] = (0.0,) * 5
) -> np.ndarray:
    """(V,) kept, in float64; ``shift`` moves each threshold by a number of its roundings."""
    with np.errstate(over="ignore"):
        scores = (logits / np.float32(params.temperature)).astype(np.float64)
    order = np.argsort(scores, kind="stable")[::-1]
    order = order[np.isfinite(scores[order])]

    def softmax(ids: np.ndarray) -> np.ndarray:
        exponentials = np.exp(scores[ids] - scores[ids[0]])
        return exponentials / exponentials.sum()

    if params.top_k:
        k_th = np.sort(scores)[::-1][min(params.top_k, scores.size) - 1]
        order = order[scores[order] >= k_th]
    if params.top_p is not None and params.top_p < 1.0:
        tail = np.cumsum(softmax(order)[::-1])[::-1]
        stays = tail > 1.0 - params.top_p + shift[0] * ROUNDING
        stays[0] = True
        order = order[stays]
    if params.min_p:
        p = softmax(order)
        stays = p >= params.min_p * p[0] * (1.0 + shift[1] * ROUNDING)
        stays[0] = True
        order = order[stays]
    if params.typical_p is not None and params.typical_p < 1.0:
        surprise = scores[order[0]] - scores[order] + np.log(1.0 / softmax(order)[0])
        p = np.exp(-surprise)
        step = 1e-6 * max(1.0, float(surprise.max()))
        distance = np.abs(surprise - (p * surprise).sum() + shift[2] * step)
        nearest = np.argsort(distance, kind="stable")
        reached = np.cumsum(p[nearest]) < params.typical_p + shift[3] * ROUNDING
        last = min(int(reached.sum()), order.size - 1)
        stays = distance <= distance[nearest[last]] + shift[4] * step
        stays[nearest[0]] = True
        order = order[stays]
    kept = np.zeros(logits.size, dtype=bool)
    kept[order] = True
    return kept


def keeps_within_rounding(logits: np.ndarray, params: SamplingParams) -> list[np.ndarray]:
    """Every kept set that float32 rounding of the thresholds could give; one where none is near."""
    nudges = (-1.0, 0.0, 1.0)
    top_p = nudges if params.top_p not in (None, 1.0) else (0.0,)
    min_p = nudges if params.min_p else (0.0,)
    typical = nudges if params.typical_p not in (None, 1.0) else (0.0,)
    shifts = itertools.product(top_p, min_p, typical, typical, typical)
    return [by_definition(logits, params, shift) for shift in shifts]


def can_be_tempered(logits: np.ndarray, params: SamplingParams) -> bool:
    """Whether transformers' division stays finite; where it overflows its softmax is NaN."""
    with np.errstate(over="ignore"):
        return bool(np.isfinite((logits / np.float32(params.temperature)).max()))


def softmax64(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits.astype(np.float64) - float(logits.max()))
    return exponentials / exponentials.sum()


# -- the same as transformers ---------------------------------------------------------------------


@settings(max_examples=400, deadline=None)
@given(short_logits, all_params)
@example(np.zeros(7, np.float32), SamplingParams(top_p=0.5))
@example(np.zeros(7, np.float32), SamplingParams(top_k=3, top_p=0.5, min_p=1.0, typical_p=0.5))
@example(np.float32([5.0]), SamplingParams(top_k=1, top_p=0.0, min_p=1.0, typical_p=0.01))
@example(np.float32([-np.inf, 1, -np.inf, 1]), SamplingParams(top_k=4, min_p=0.5))
def test_that_reshaping_equals_transformers_processors(logits: np.ndarray, params: SamplingParams) -> None:
    assume(can_be_tempered(logits, params))
    ours = reshape(logits, params)
    probabilities, kept = by_transformers(logits, params)
    allowed = keeps_within_rounding(logits, params)
    if all(np.array_equal(other, allowed[0]) for other in allowed):
        np.testing.assert_array_equal(ours.kept, kept)
    elif not np.array_equal(ours.kept, kept):
        # A threshold lies within float32 rounding of a cumulative sum: either side of it is right.
        assert any(np.array_equal(ours.kept, other) for other in allowed)
        return
    np.testing.assert_allclose(ours.probabilities, probabilities, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(),
        SamplingParams(temperature=0.7, top_k=50),
        SamplingParams(temperature=1.6, top_p=0.95),
        SamplingParams(temperature=1.3, top_k=40, top_p=0.9),
        SamplingParams(temperature=2.0, min_p=0.05),
        SamplingParams(temperature=1.2, typical_p=0.9),
        SamplingParams(temperature=0.9, top_k=200, top_p=0.97, min_p=0.01, typical_p=0.95),
        SamplingParams(top_k=1),
        SamplingParams(top_k=10**9),
        SamplingParams(top_p=0.0),
        SamplingParams(top_p=1.0),
        SamplingParams(min_p=0.0),
        SamplingParams(min_p=1.0),
        SamplingParams(temperature=1e-4),
        SamplingParams(temperature=1e4),
    ],
    ids=repr,
)
def test_that_a_large_vocabulary_equals_transformers_processors(seed: int, params: SamplingParams) -> None:
    logits = np.random.default_rng(seed).normal(0.0, 3.0, 32_000).astype(np.float32)
    ours = reshape(logits, params)
    probabilities, kept = by_transformers(logits, params)
    np.testing.assert_allclose(ours.probabilities, probabilities, atol=TOLERANCE, rtol=0)
    np.testing.assert_array_equal(ours.kept, kept)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("params", [SamplingParams(0.8, 40), SamplingParams(1.4, None, 0.9)], ids=repr)
def test_that_half_precision_ties_keep_as_many_tokens_as_transformers(
    dtype: torch.dtype, params: SamplingParams
) -> None:
    torch.manual_seed(5)
    logits = (torch.randn(8_000) * 3).to(dtype)
    ours = reshape(logits, params)
    probabilities, kept = by_transformers(logits.float().numpy(), params)
    # Which members of a tie stay is torch's choice; how many, and how likely each is, is not.
    assert ours.kept_count == kept.sum()
    np.testing.assert_allclose(np.sort(ours.probabilities), np.sort(probabilities), atol=TOLERANCE, rtol=0)


@settings(max_examples=500, deadline=None)
@given(
    short_logits,
    st.lists(st.integers(0, 15), max_size=12),
    st.none() | st.sampled_from((0.5, 1.0, 1.2, 3.0)),
    st.none() | st.integers(0, 4),
    all_params,
)
@example(np.zeros(9, np.float32), [1, 2, 1], 1.2, 2, SamplingParams(0.7, 5, 0.9, 0.1, 0.9))
@example(np.float32([-np.inf, 2, 2, 2, -np.inf]), [1, 1, 3], 3.0, 2, SamplingParams(2.0, 1, 0.5))
def test_that_penalties_and_cuts_together_equal_transformers_processors(
    logits: np.ndarray, ids: list[int], penalty: float | None, ngram: int | None, params: SamplingParams
) -> None:
    previous = tuple(i % logits.size for i in ids)
    params = params.with_changes(repetition_penalty=penalty, no_repeat_ngram_size=ngram)
    penalised = apply_penalties(logits, np.array(previous, np.int64), penalty, ngram)
    assume(not np.isposinf(penalised).any())
    if (penalised == -np.inf).all():
        with pytest.raises(LogitsError, match="suppressed"):
            reshape(logits, params, previous)
        return
    assume(can_be_tempered(penalised, params))
    probabilities, kept = by_transformers(logits, params, previous)
    assume(len({kept.tobytes() for kept in keeps_within_rounding(penalised, params)}) == 1)
    ours = reshape(logits, params, previous)
    np.testing.assert_allclose(ours.probabilities, probabilities, atol=TOLERANCE, rtol=0)
    np.testing.assert_array_equal(ours.kept, kept)


@settings(max_examples=300, deadline=None)
@given(short_logits, all_params.filter(lambda params: params.typical_p is not None))
def test_that_typical_p_keeps_one_unbroken_range_of_ranks(logits: np.ndarray, params: SamplingParams) -> None:
    assume(can_be_tempered(logits, params))
    # On transformers' own result: `Distribution` can hold nothing but a range.
    _, kept = by_transformers(logits, params)
    ranks = np.flatnonzero(kept[RankedLogits(logits).order])
    values = logits[RankedLogits(logits).order][ranks]
    inside = (logits <= values[0]) & (logits >= values[-1])
    # Of the two ends' ties, top-p may have left out some.
    inside[(logits == values[0]) | (logits == values[-1])] = kept[
        (logits == values[0]) | (logits == values[-1])
    ]
    np.testing.assert_array_equal(kept, inside)


# -- edges ------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(short_logits)
def test_that_temperature_0_takes_the_first_of_the_most_likely(logits: np.ndarray) -> None:
    ours = reshape(logits, GREEDY)
    assert np.flatnonzero(ours.kept).tolist() == [int(torch.tensor(logits).argmax())]
    assert ours.probabilities.sum() == 1.0
    assert ours.entropy_bits == 0.0
    assert ours.mass_cut == pytest.approx(1.0 - softmax64(logits).max(), abs=TOLERANCE)


@settings(deadline=None)
@given(short_logits, st.sampled_from((5e-324, 1e-300, 1e-45, 1e-38)))
def test_that_a_vanishing_temperature_shares_all_among_the_most_likely(
    logits: np.ndarray, temperature: float
) -> None:
    distinct = np.unique(logits.astype(np.float64))[::-1]
    assume(distinct.size == 1 or distinct[0] - distinct[1] > 1e3 * temperature)
    ours = reshape(logits, SamplingParams(temperature))
    best = logits == logits.max()
    np.testing.assert_allclose(ours.probabilities, best / best.sum(), atol=TOLERANCE, rtol=0)


@settings(deadline=None)
@given(short_logits, st.sampled_from((1e38, 1e39, 1e300)))
def test_that_a_boundless_temperature_makes_all_but_the_banned_alike(
    logits: np.ndarray, temperature: float
) -> None:
    possible = np.isfinite(logits)
    assume(np.abs(logits[possible]).max() < 1e30)
    ours = reshape(logits, SamplingParams(temperature))
    np.testing.assert_array_equal(ours.kept, possible)
    np.testing.assert_allclose(ours.probabilities, possible / possible.sum(), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_that_top_k_keeps_ties_with_the_last(count: int) -> None:
    assert reshape([1, 3, 2, 2, 2, 0], SamplingParams(top_k=count)).kept_count == {1: 1, 2: 4, 3: 4}[count]


@settings(deadline=None)
@given(short_logits, all_params)
def test_that_every_reshaping_is_a_distribution(logits: np.ndarray, params: SamplingParams) -> None:
    ours = reshape(logits, params)
    assert ours.probabilities.shape == ours.kept.shape == logits.shape
    assert ours.probabilities.sum(dtype=np.float64) == pytest.approx(1.0, abs=TOLERANCE)
    assert not ours.probabilities[~ours.kept].any()
    assert 1 <= ours.kept_count == ours.kept.sum() <= logits.size
    assert not ours.kept[logits == -np.inf].any()
    assert 0.0 <= ours.mass_cut <= 1.0


# -- ranked once, reshaped often --------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    short_logits,
    st.lists(
        st.builds(
            SamplingParams,
            temperature=st.sampled_from((0.0, 0.5, 1.0, 2.0)),
            top_k=st.none() | st.integers(1, 6),
            top_p=st.none() | fractions,
            repetition_penalty=st.sampled_from((None, 1.0, 1.3)),
        ),
        min_size=2,
        max_size=8,
    ),
)
def test_that_ranked_logits_reused_equal_a_fresh_reshape(
    logits: np.ndarray, moves: list[SamplingParams]
) -> None:
    assume(np.abs(logits[np.isfinite(logits)]).max() < 1e30)
    ranked = RankedLogits(logits, [0])
    # Made first and read afterwards: what is left to be worked out does not mix the moves up.
    for reused, params in [(ranked.distribution(params), params) for params in moves]:
        fresh = reshape(logits, params, [0])
        np.testing.assert_array_equal(reused.probabilities, fresh.probabilities)
        np.testing.assert_array_equal(reused.kept, fresh.kept)
        assert reused.mass_cut == fresh.mass_cut
        assert reused.entropy_bits == fresh.entropy_bits


def test_that_threads_may_share_ranked_logits() -> None:
    logits = np.random.default_rng(4).normal(0.0, 3.0, 3000).astype(np.float32)
    ranked = RankedLogits(logits)
    moves = [
        SamplingParams(temperature, top_k, top_p)
        for temperature in (0.5, 0.9, 2.0)
        for top_k in (None, 20, 700)
        for top_p in (None, 0.5, 0.97)
    ]
    expected = [reshape(logits, params).probabilities for params in moves]
    wrong: list[SamplingParams] = []

    def drag(seed: int) -> None:
        for index in np.random.default_rng(seed).integers(0, len(moves), 400):
            found = ranked.distribution(moves[index])
            if not np.array_equal(found.probabilities, expected[index]):
                wrong.append(moves[index])

    threads = [threading.Thread(target=drag, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@settings(deadline=None)
@given(short_logits)
def test_that_a_tokens_rank_is_its_place_in_the_order(logits: np.ndarray) -> None:
    ranked = RankedLogits(logits)
    assert [ranked.rank(int(token_id)) for token_id in ranked.order] == list(range(logits.size))


def test_that_ranked_logits_do_not_follow_later_writes_to_the_array() -> None:
    logits = np.float32([1, 2, 3])
    ranked = RankedLogits(logits)
    logits[:] = 0
    assert ranked.distribution(SamplingParams(top_k=1)).kept.tolist() == [False, False, True]


def test_that_rank_and_probability_by_token_agree_with_the_arrays() -> None:
    logits = np.random.default_rng(0).normal(size=50).astype(np.float32)
    ours = reshape(logits, SamplingParams(0.8, top_k=7))
    assert [ours.ranked.rank(i) for i in ours.ranked.order] == list(range(50))
    assert [ours.probability(i) for i in range(50)] == ours.probabilities.tolist()
    assert ours.top(9) == [(i, ours.probability(i)) for i in np.argsort(-logits)[:9]]
    assert [ours.keeps_rank(rank) for rank in range(9)] == [True] * 7 + [False] * 2


# -- what is read off a distribution ----------------------------------------------------------------


@settings(deadline=None)
@given(short_logits)
def test_that_entropy_and_choices_equal_float64(logits: np.ndarray) -> None:
    check_spread(softmax64(logits), reshape(logits, SamplingParams()))


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(1.7),
        SamplingParams(0.05),
        SamplingParams(0.8, 50),
        SamplingParams(1.2, None, 0.9),
        SamplingParams(10.0, typical_p=0.4),
        SamplingParams(2.0, 5000, 0.99, 1e-4, 0.9),
    ],
    ids=repr,
)
def test_that_entropy_and_choices_are_those_of_what_stays(params: SamplingParams) -> None:
    logits = np.random.default_rng(11).normal(0.0, 3.0, 20_000).astype(np.float32)
    logits[::9] = -np.inf
    ours = reshape(logits, params)
    check_spread(
        softmax64(np.where(ours.kept, logits.astype(np.float64), -np.inf) / params.temperature), ours
    )


def check_spread(p: np.ndarray, ours: Distribution) -> None:
    bits = float(-(p[p > 0] * np.log2(p[p > 0])).sum())
    assert ours.entropy_bits == pytest.approx(bits, abs=1e-5)
    assert ours.perplexity == pytest.approx(2.0**bits, rel=1e-5)
    assert ours.effective_choices == pytest.approx(1.0 / (p * p).sum(), rel=1e-5)


def test_that_mass_cut_equals_float64() -> None:
    logits = np.random.default_rng(1).normal(0, 2, 1000).astype(np.float32)
    ours = reshape(logits, SamplingParams(1.6, top_k=20))
    assert ours.mass_cut == pytest.approx(softmax64(logits / 1.6)[~ours.kept].sum(), abs=TOLERANCE)


def test_that_draws_follow_the_distribution_and_their_seed() -> None:
    ours = reshape(np.random.default_rng(2).normal(size=40), SamplingParams(top_k=6))
    counts = ours.draw(100_000, seed=7)
    assert counts.sum() == 100_000
    assert not counts[~ours.kept].any()
    np.testing.assert_array_equal(counts, ours.draw(100_000, seed=7))
    assert not np.array_equal(counts, ours.draw(100_000, seed=8))
    np.testing.assert_allclose(counts / 100_000, ours.probabilities, atol=0.01)


# -- what may be given ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_that_torch_tensors_are_taken_as_they_are(dtype: torch.dtype) -> None:
    logits = torch.tensor([0.5, 1.25, -3.0], dtype=dtype, requires_grad=True)
    params = SamplingParams(0.7, top_p=0.9)
    expected = reshape([0.5, 1.25, -3.0], params)
    for given_logits in (logits, logits.detach()):
        ours = explorer.reshape(given_logits, params, previous_ids=torch.tensor([0, 2]))
        np.testing.assert_array_equal(ours.probabilities, expected.probabilities)
    assert logits.dtype == dtype
    assert ours.probabilities.dtype == np.float32


@pytest.mark.parametrize(
    ("logits", "says"),
    [
        ([0.0, math.nan], "NaN"),
        (torch.tensor([math.nan, 0.0], dtype=torch.bfloat16), "NaN"),
        ([0.0, math.inf], r"\+inf"),
        ([0.0, 1e300], r"\+inf"),
        ([-math.inf, -math.inf], "suppressed"),
        ([], "one vector"),
        ([[1.0, 2.0]], r"shape \(1, 2\)"),
        (3.0, "one vector"),
    ],
)
def test_that_logits_without_a_distribution_say_why(logits: object, says: str) -> None:
    with pytest.raises(LogitsError, match=says):
        reshape(logits, SamplingParams())


@pytest.mark.parametrize("ids", [[3], [-1], [[0, 1]]])
def test_that_previous_ids_outside_the_vocabulary_are_refused(ids: list) -> None:
    with pytest.raises(ValueError, match="previous_ids"):
        reshape([1.0, 2.0, 3.0], SamplingParams(repetition_penalty=1.2), ids)


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -0.1},
        {"temperature": math.nan},
        {"temperature": math.inf},
        {"top_k": -1},
        {"top_k": 2.5},
        {"top_k": math.inf},
        {"top_k": True},
        {"top_p": 1.01},
        {"min_p": -0.01},
        {"typical_p": 0.0},
        {"repetition_penalty": 0.0},
        {"no_repeat_ngram_size": -1},
        {"no_repeat_ngram_size": 1.5},
        {"seed": 1.5},
    ],
    ids=repr,
)
def test_that_settings_out_of_range_name_themselves(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SamplingParams(**wrong)


def test_that_a_vocabulary_of_one_is_certain() -> None:
    for params in (GREEDY, SamplingParams(), SamplingParams(2.0, 5, 0.0, 1.0, 0.5)):
        ours: Distribution = reshape([-4.0], params)
        assert ours.probabilities.tolist() == [1.0]
        assert ours.entropy_bits == 0.0
        assert ours.mass_cut == 0.0


def test_that_each_cut_states_what_it_left_over() -> None:
    logits = np.log([0.4, 0.3, 0.1, 0.1, 0.06, 0.04])
    ours = reshape(logits, SamplingParams(top_k=5, top_p=0.85, min_p=0.5, typical_p=1.0))
    assert [(cut.name, cut.end_rank) for cut in ours.cuts] == [("top_k", 5), ("top_p", 4), ("min_p", 2)]
    assert ours.end_rank == 2


@pytest.mark.parametrize(
    ("params", "says"),
    [
        (SamplingParams(0.0, top_k=5, seed=3), "greedy"),
        (SamplingParams(), "temperature 1"),
        (SamplingParams(0.7, 40, 0.9, seed=1), "temperature 0.7 · top-k 40 · top-p 0.9 · seed 1"),
        (
            SamplingParams(top_k=0, top_p=1.0, min_p=0.0, repetition_penalty=1.2),
            "temperature 1 · repetition penalty 1.2",
        ),
    ],
)
def test_that_a_summary_names_what_is_in_force(params: SamplingParams, says: str) -> None:
    assert params.summary == says


@pytest.mark.parametrize("count", [1, 7, 3000])
def test_that_equal_logits_rank_by_id_the_higher_first(count: int) -> None:
    rng = np.random.default_rng(count)
    logits = rng.normal(0.0, 2.0, count).astype(np.float32).round(1)
    logits[::5], logits[1::5] = 0.0, -0.0
    logits[2::7] = -np.inf
    logits[3::11] = np.finfo(np.float32).tiny / 4
    logits[0] = 1.0
    expected = np.lexsort((-np.arange(count), -logits.astype(np.float64)))
    assert (RankedLogits(logits).order == expected).all()


@pytest.mark.parametrize("top_p", [0.0, 1e-6, 0.1, 0.5, 0.9, 0.999, 0.9999999])
@pytest.mark.parametrize("count", [511, 512, 513, 5000])
def test_that_top_p_summed_in_blocks_stops_where_one_running_sum_does(count: int, top_p: float) -> None:
    logits = np.random.default_rng(count).normal(0.0, 3.0, count).astype(np.float32)
    ranked = RankedLogits(logits)
    tail = np.cumsum(ranked.unshaped.rank_probabilities[::-1], dtype=np.float64).astype(np.float32)
    expected = max(1, count - int((tail <= np.float32(1.0 - top_p)).sum()))
    assert ranked.distribution(SamplingParams(top_p=top_p)).kept_count == expected
