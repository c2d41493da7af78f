"""Beam search, against ``model.generate(num_beams=…)`` as the independent reference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import explorer
from explorer.core.beams import BeamSearch
from explorer.core.branches import ROOT
from explorer.core.records import StepRecord
from explorer.core.sampling import LogitsError, SamplingParams
from explorer.core.stopping import Stopping
from explorer.model.errors import CancelledError
from explorer.model.language_model import LanguageModel
from explorer.model.run import Run
from tests.model.checkpoints import DECODER_ONLY, ENCODER_DECODERS, TEXT
from tests.model.test_branching import Calls, assert_same_run, forced, loaded
from tests.model.test_generation import GREEDY, SENTENCE, SENTENCES, reference


def beams(model: Any, ids: tuple[int, ...], width: int, **options: Any) -> Any:
    inputs = torch.tensor([ids])
    if model.config.is_encoder_decoder and "past_key_values" not in options:
        options["past_key_values"] = transformers.EncoderDecoderCache(
            transformers.DynamicCache(), transformers.DynamicCache()
        )
    return model.generate(
        inputs,
        attention_mask=torch.ones_like(inputs),
        num_beams=width,
        num_return_sequences=width,
        do_sample=False,
        return_dict_in_generate=True,
        output_scores=True,
        output_logits=True,
        **options,
    )


def added_up(step: StepRecord) -> np.ndarray:
    """The log-probabilities that a beam search adds up: made of the logits where no rule changed any."""
    if step.scores is not step.logits:
        return step.scores
    return torch.log_softmax(torch.tensor(step.logits), dim=-1).numpy()


def trimmed(row: list[int], result: Any, index: int) -> list[int]:
    """What one returned sequence generated, without what fills it up to the longest one's length."""
    return row[: int((result.beam_indices[index] >= 0).sum())]


def assert_equal(found: BeamSearch, expected: Any, given: int) -> None:
    """The same sequences with the same scores, best first (places that hold no hypothesis left out)."""
    scores = expected.sequences_scores.tolist()
    rows = [
        (trimmed(row, expected, index), score)
        for index, (row, score) in enumerate(zip(expected.sequences[:, given:].tolist(), scores, strict=True))
        if score > -1e6
    ]
    assert [list(hypothesis.token_ids) for hypothesis in found.hypotheses] == [ids for ids, _ in rows]
    for hypothesis, (ids, score) in zip(found.hypotheses, rows, strict=True):
        assert hypothesis.score == pytest.approx(score, rel=1e-6, abs=1e-5)
        assert hypothesis.score == pytest.approx(
            hypothesis.log_probability / len(ids) ** found.length_penalty, rel=1e-6, abs=1e-5
        )


def assert_hypotheses_are_in_the_tree(run: Run, found: BeamSearch) -> None:
    """Going to any of them calls no model and shows what a run of its tokens shows."""
    lm = run.lm
    nodes = {hypothesis.node: hypothesis.token_ids for hypothesis in found.hypotheses}
    for step in (found.steps[0], found.steps[len(found.steps) // 2], found.steps[-1]):
        for node in (*step.nodes, *step.ended):
            steps = [run.tree.nodes[i].step for i in run.tree.path(node)]
            nodes[node] = tuple(one.token.id for one in steps if one is not None)
    calls = Calls(lm)
    try:
        for node, ids in nodes.items():
            run.go_to(node)
            assert tuple(run.token_ids) == ids
            assert all(step.choice == "beam" for step in run.steps)
        assert calls.count == 0
    finally:
        calls.remove()
    kinds = lm.info.layers
    for node, ids in nodes.items():
        run.go_to(node)
        fresh = forced(lm, list(ids), run.source.text, limit=60)
        for ours, theirs in zip(run.steps, fresh.steps, strict=True):
            np.testing.assert_allclose(ours.logits, theirs.logits, atol=2e-5, rtol=1e-5)
            np.testing.assert_array_equal(ours.previous_ids, theirs.previous_ids)
        for kind in kinds:
            np.testing.assert_allclose(run.attention(kind), fresh.attention(kind), atol=2e-5)


@pytest.mark.parametrize("text", SENTENCES)
@pytest.mark.parametrize("width", [2, 4, 8])
def test_that_beams_of_the_bundled_model_equal_generate(fr_en: LanguageModel, text: str, width: int) -> None:
    run = fr_en.generate(text, GREEDY)
    found = run.beam_search(width, max_new_tokens=30)
    expected = beams(reference(fr_en.folder, fr_en.family), run.source.ids, width, max_new_tokens=30)
    assert_equal(found, expected, 1)
    assert run.token_ids == list(found.hypotheses[0].token_ids)
    assert run.text == found.hypotheses[0].text


@pytest.mark.parametrize("name", [*ENCODER_DECODERS, *DECODER_ONLY])
@pytest.mark.parametrize("width", [2, 5])
def test_that_beams_of_random_checkpoints_equal_generate(
    checkpoint: Callable[[str], Path], name: str, width: int
) -> None:
    lm = explorer.load(str(checkpoint(name)), device="cpu")
    run = lm.generate(TEXT, GREEDY)
    found = run.beam_search(width, max_new_tokens=12)
    model = reference(checkpoint(name), lm.family)
    given = 1 if model.config.is_encoder_decoder else len(run.source.ids)
    assert_equal(found, beams(model, run.source.ids, width, max_new_tokens=12), given)
    assert_hypotheses_are_in_the_tree(run, found)


@pytest.mark.parametrize("name", ["t5", "marian", "bart, forced end", "gpt2", "llama"])
@pytest.mark.parametrize(
    "options",
    [
        {"length_penalty": 0.0},
        {"length_penalty": 2.5},
        {"length_penalty": -1.0, "early_stopping": True},
        {"early_stopping": "never"},
        {"bad_words_ids": [[40], [55], [60, 61]], "min_new_tokens": 4},
        {"no_repeat_ngram_size": 2, "repetition_penalty": 1.4},
        {"forced_bos_token_id": 7, "suppress_tokens": [8, 9, 12]},
        {"eos_token_id": [2, 50, 51]},
    ],
    ids=lambda options: "+".join(options),
)
def test_that_beams_follow_the_checkpoints_generation_config(
    checkpoint: Callable[[str], Path], name: str, options: dict[str, Any]
) -> None:
    lm = explorer.load(str(checkpoint(name)), device="cpu")
    model = reference(checkpoint(name), lm.family)
    for key, value in options.items():
        setattr(lm.model.generation_config, key, value)
        setattr(model.generation_config, key, value)
    run = lm.generate(TEXT, GREEDY)
    found = run.beam_search(4, max_new_tokens=14)
    given = 1 if model.config.is_encoder_decoder else len(run.source.ids)
    assert_equal(found, beams(model, run.source.ids, 4, max_new_tokens=14), given)
    assert_hypotheses_are_in_the_tree(run, found)


def test_that_length_penalty_and_penalties_of_the_run_are_those_of_generate(fr_en: LanguageModel) -> None:
    params = SamplingParams(temperature=0, repetition_penalty=1.5, no_repeat_ngram_size=2)
    run = fr_en.generate(SENTENCES[2], params)
    found = run.beam_search(3, length_penalty=0.3, max_new_tokens=20)
    assert found.length_penalty == 0.3
    expected = beams(
        reference(fr_en.folder, fr_en.family),
        run.source.ids,
        3,
        max_new_tokens=20,
        length_penalty=0.3,
        repetition_penalty=1.5,
        no_repeat_ngram_size=2,
    )
    assert_equal(found, expected, 1)


@pytest.mark.parametrize("banned", [None, [[12]]])
def test_that_a_steps_scores_are_the_log_probabilities_that_generate_adds_up(
    fr_en: LanguageModel, monkeypatch: pytest.MonkeyPatch, banned: list[list[int]] | None
) -> None:
    model = reference(fr_en.folder, fr_en.family)
    model.generation_config.bad_words_ids = banned
    monkeypatch.setattr(fr_en.model.generation_config, "bad_words_ids", banned)
    run = fr_en.generate(SENTENCE, GREEDY)
    found = run.beam_search(4)
    assert all((step.scores is step.logits) == (banned is None) for step in run.steps[:3])
    expected = beams(model, run.source.ids, 4)
    came_from = expected.beam_indices[0].tolist()
    for index, step in enumerate(run.steps):
        row = came_from[index]
        np.testing.assert_allclose(added_up(step), expected.scores[index][row].numpy(), atol=1e-4)
        np.testing.assert_allclose(step.logits, expected.logits[index][row].numpy(), atol=1e-4)
    total = sum(float(added_up(step)[step.token.id]) for step in run.steps)
    assert total == pytest.approx(found.hypotheses[0].log_probability, abs=1e-4)


def test_that_a_search_starts_from_the_first_pass_and_keeps_the_branch_that_was_there(
    fr_en: LanguageModel,
) -> None:
    run = fr_en.generate(SENTENCE, GREEDY).finish()
    greedy, text = run.node, run.text
    calls = Calls(fr_en)
    try:
        found = run.beam_search(4)
        assert calls.count == len(found.steps) - 1
    finally:
        calls.remove()
    assert run.node == found.hypotheses[0].node
    run.go_to(greedy)
    assert run.text == text
    other = next(hypothesis for hypothesis in found.hypotheses if hypothesis.text != text)
    run.go_to(other.node)
    run.back()
    run.step(force=99)
    fresh = forced(fr_en, run.token_ids, SENTENCE)
    run.step()
    fresh.step()
    assert run.token_ids == fresh.token_ids
    np.testing.assert_allclose(run.steps[-1].logits, fresh.steps[-1].logits, atol=1e-4)


@given(
    moves=st.lists(
        st.one_of(
            st.tuples(st.just("step"), st.integers(0, 95)),
            st.tuples(st.just("go"), st.integers(0, 10_000)),
            st.tuples(st.just("beams"), st.integers(2, 4)),
            st.tuples(st.just("sampled"), st.integers(0, 3)),
        ),
        max_size=8,
    )
)
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@pytest.mark.parametrize("name", ["t5", "mistral, sliding window"])
def test_that_any_walk_with_searches_ends_where_a_fresh_run_of_its_tokens_does(
    checkpoint: Callable[[str], Path], name: str, moves: list[tuple[str, int]]
) -> None:
    lm = loaded(checkpoint(name))
    run = lm.generate(TEXT, GREEDY, max_new_tokens=30)
    for move, value in moves:
        if move == "go":
            run.go_to(value % len(run.tree.nodes))
        elif move == "beams":
            run.beam_search(value, max_new_tokens=5)
        elif not run.finished:
            run.params = SamplingParams(temperature=1.5) if move == "sampled" else GREEDY
            run.step(force=value if move == "step" else None)
    fresh = forced(lm, run.token_ids, limit=30)
    assert run.token_ids == fresh.token_ids
    assert run.stop_reason == fresh.stop_reason
    for ours, theirs in zip(run.steps, fresh.steps, strict=True):
        np.testing.assert_allclose(ours.logits, theirs.logits, atol=5e-5, rtol=1e-5)
        np.testing.assert_array_equal(ours.previous_ids, theirs.previous_ids)
    for kind in lm.info.layers:
        np.testing.assert_allclose(run.attention(kind), fresh.attention(kind), atol=2e-5)
    if not run.finished:
        np.testing.assert_allclose(run.step(7).logits, fresh.step(7).logits, atol=5e-5, rtol=1e-5)


def test_that_hypotheses_still_running_at_the_limit_are_not_called_finished(fr_en: LanguageModel) -> None:
    run = fr_en.generate(SENTENCES[3], GREEDY)
    found = run.beam_search(3, max_new_tokens=4)
    assert [hypothesis.finished for hypothesis in found.hypotheses] == [False] * 3
    assert all(len(hypothesis.token_ids) == 4 for hypothesis in found.hypotheses)
    assert not run.finished
    assert run.finish().finished


def test_that_a_cancelled_search_leaves_the_run_where_it_stood_and_what_was_found_in_the_tree(
    fr_en: LanguageModel,
) -> None:
    run = fr_en.generate(SENTENCE, GREEDY)
    run.step()
    stood, reports = run.node, []

    def report(done: int, most: int) -> None:
        reports.append((done, most))
        if done == 3:
            fr_en.recorder.cancel.set()

    try:
        with pytest.raises(CancelledError):
            run.beam_search(4, max_new_tokens=20, report=report)
    finally:
        fr_en.recorder.cancel.clear()
    assert reports == [(0, 20), (1, 20), (2, 20), (3, 20)]
    assert run.node == stood
    assert len(run.tree.nodes) > 4
    assert_same_run(run.finish(), fr_en.generate(SENTENCE, GREEDY).finish())


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_that_a_search_without_a_choice_says_so_and_leaves_the_run_usable(
    fr_en: LanguageModel, value: float
) -> None:
    run = fr_en.generate(SENTENCE, GREEDY)
    run.step()

    def spoil(_module: Any, _inputs: Any, outputs: Any) -> Any:
        outputs.logits = torch.full_like(outputs.logits, value)
        return outputs

    handle = fr_en.model.register_forward_hook(spoil)
    with pytest.raises(LogitsError):
        run.beam_search(4)
    handle.remove()
    assert run.node == 1
    run.back()
    run.step(force=99)  # where the search had not been
    assert run.finish().finished


@pytest.mark.parametrize("width", [-1, 0, 1, 9])
def test_that_a_width_outside_2_to_8_is_refused(fr_en: LanguageModel, width: int) -> None:
    run = fr_en.generate(SENTENCE, GREEDY)
    with pytest.raises(ValueError, match="follows 2 to 8 hypotheses"):
        run.beam_search(width)
    assert run.node == ROOT


def test_that_a_model_that_fills_masks_has_no_beams(checkpoint: Callable[[str], Path]) -> None:
    lm = explorer.load(str(checkpoint("bert")), device="cpu")
    with pytest.raises(ValueError, match="fills in masks"):
        lm.generate("the <mask>", GREEDY).beam_search(4)


def test_that_beams_stay_within_the_context(checkpoint: Callable[[str], Path]) -> None:
    lm = explorer.load(str(checkpoint("gpt2")), device="cpu")
    run = lm.generate(lm.tokenize("the cat sat " * 200), GREEDY)
    found = run.beam_search(4, max_new_tokens=50)
    assert len(found.hypotheses[0].token_ids) == 1
    assert run.stop_reason == "the model's context of 128 tokens is full"


def test_that_hypotheses_end_at_a_stop_string_as_generates_do(fr_en: LanguageModel) -> None:
    run = fr_en.generate(SENTENCE, GREEDY)
    run.stop_when(Stopping(max_new_tokens=20, strings=("machine",)))
    found = run.beam_search(4)
    expected = beams(
        reference(fr_en.folder, fr_en.family),
        run.source.ids,
        4,
        max_new_tokens=20,
        stop_strings=["machine"],
        tokenizer=fr_en.text_tokenizer.tokenizer,
    )
    assert_equal(found, expected, 1)
    assert found.hypotheses[0].finished
    assert found.hypotheses[0].text.endswith("machine")
