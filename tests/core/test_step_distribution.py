"""A step's distribution under other settings than it was run under."""

from __future__ import annotations

import numpy as np
import pytest

from explorer.core.penalties import apply_penalties
from explorer.core.records import StepRecord
from explorer.core.sampling import SamplingParams, reshape
from explorer.core.tokens import Token

IDS = np.array([4, 1, 2, 4, 1], dtype=np.int64)
LOGITS = np.random.default_rng(0).normal(0, 3, 12).astype(np.float32)


def run_under(params: SamplingParams, banned: tuple[int, ...] = ()) -> StepRecord:
    """A step as a run records it: its scores hold the penalties, and what the checkpoint bans."""
    scores = apply_penalties(LOGITS, IDS, params.repetition_penalty, params.no_repeat_ngram_size)
    scores[list(banned)] = -np.inf
    return StepRecord(0, Token(0, "a", "a", None, False), LOGITS, scores, IDS, params, False, 0.0)


PENALTIES = [(None, None), (1.0, 0), (1.5, None), (None, 3), (1.5, 3), (0.7, 2), (2.0, 1)]


@pytest.mark.parametrize("had", PENALTIES)
@pytest.mark.parametrize("wanted", PENALTIES)
def test_that_penalties_apply_once_whatever_the_step_was_run_under(
    had: tuple[float | None, int | None], wanted: tuple[float | None, int | None]
) -> None:
    names = ("repetition_penalty", "no_repeat_ngram_size")
    step = run_under(SamplingParams(**dict(zip(names, had, strict=True))), banned=(7,))
    params = SamplingParams(0.8, 6, **dict(zip(names, wanted, strict=True)))
    without = LOGITS.copy()
    without[7] = -np.inf
    expected = reshape(without, params, IDS)
    np.testing.assert_allclose(
        step.distribution(params).probabilities, expected.probabilities, atol=1e-6, rtol=0
    )
    np.testing.assert_array_equal(step.distribution(params).kept, expected.kept)


def test_that_the_steps_own_settings_are_not_applied_twice() -> None:
    params = SamplingParams(repetition_penalty=1.5, no_repeat_ngram_size=3)
    step = run_under(params)
    assert step.distribution().ranked is step.ranked
    np.testing.assert_array_equal(step.ranked.logits, step.scores)
