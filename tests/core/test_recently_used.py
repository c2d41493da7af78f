"""What is kept for owners, how much of it, and until when."""

from __future__ import annotations

import gc
import threading

import numpy as np

from explorer.core import records
from explorer.core.recently_used import RecentlyUsed
from explorer.core.records import StepRecord
from explorer.core.sampling import SamplingParams
from explorer.core.tokens import Token


class Owner:
    pass


def test_that_a_value_is_made_once_while_it_is_kept() -> None:
    kept, owner, made = RecentlyUsed(100), Owner(), []
    for _ in range(3):
        assert kept.get(owner, "key", 40, lambda: made.append(1) or "value") == "value"
    assert len(made) == 1
    assert kept.get(owner, "other", 40, lambda: "another") == "another"
    assert kept.bytes_kept == 80


def test_that_what_was_used_longest_ago_goes_first() -> None:
    kept, owners = RecentlyUsed(100), [Owner() for _ in range(3)]
    for owner in (owners[0], owners[1], owners[0], owners[2]):
        kept.get(owner, 0, 40, lambda: "value")
    assert kept.get(owners[0], 0, 40, lambda: "made anew") == "value"
    assert kept.get(owners[1], 0, 40, lambda: "made anew") == "made anew"
    assert kept.bytes_kept == 80


def test_that_one_value_larger_than_all_room_is_kept_until_the_next() -> None:
    kept, first, second = RecentlyUsed(100), Owner(), Owner()
    assert kept.get(first, 0, 400, lambda: "first") == "first"
    assert kept.get(first, 0, 400, lambda: "made anew") == "first"
    kept.get(second, 0, 400, lambda: "second")
    assert kept.bytes_kept == 400


def test_that_an_owner_takes_its_values_along() -> None:
    kept, owner = RecentlyUsed(100), Owner()
    kept.get(owner, 0, 40, lambda: "value")
    kept.get(owner, 1, 40, lambda: "value")
    del owner
    gc.collect()
    assert len(kept) == kept.bytes_kept == 0


def test_that_threads_share_it() -> None:
    kept, owners = RecentlyUsed(1000), [Owner() for _ in range(50)]
    wrong: list[str] = []

    def ask() -> None:
        for turn in range(40):
            for index, owner in enumerate(owners):
                if kept.get(owner, turn % 3, 30, lambda index=index: index) != index:
                    wrong.append("another's value")

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert kept.bytes_kept == 30 * len(kept) <= 1000


def kept_bytes() -> int:
    return records._RANKINGS.bytes_kept + records._PENALISED.bytes_kept


def make_step(vocabulary: int, rule: int | None = None) -> StepRecord:
    logits = np.random.default_rng(0).normal(size=vocabulary).astype(np.float32)
    scores = logits
    if rule is not None:
        scores = logits.copy()
        scores[rule] = -np.inf
    token = Token(0, "a", "a", None, False)
    return StepRecord(0, token, logits, scores, np.zeros(1, np.int64), SamplingParams(), False, 0.0)


def test_that_the_rankings_of_a_run_that_is_gone_are_dropped() -> None:
    before = kept_bytes()
    step = make_step(5000, rule=3)
    assert step.ranked is step.ranked
    assert step.ranked_logits is step.ranked_logits is not step.ranked
    step.distribution(SamplingParams(repetition_penalty=1.5))
    assert kept_bytes() == before + 3 * 24 * 5000
    del step
    gc.collect()
    assert kept_bytes() == before


def test_that_a_step_without_rules_is_ranked_once_for_both() -> None:
    step = make_step(50)
    assert step.ranked_logits is step.ranked


def test_that_dragging_a_penalty_drops_no_other_steps_ranking() -> None:
    steps = [make_step(20_000) for _ in range(4)]
    rankings = [step.ranked for step in steps]
    for i in range(120):
        steps[0].distribution(SamplingParams(repetition_penalty=1.01 + 0.01 * i))
    assert all(step.ranked is ranking for step, ranking in zip(steps, rankings, strict=True))
    assert records._PENALISED.bytes_kept <= records.RANKINGS_BYTES // 8
