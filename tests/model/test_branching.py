"""A run's tree: going anywhere in it computes nothing, and gives what a fresh run would."""

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
from tokenizers import Tokenizer, models, pre_tokenizers

import explorer
from explorer.core.branches import ROOT
from explorer.core.sampling import LogitsError, SamplingParams
from explorer.core.selection import HeadRef
from explorer.model.branching import IdHistory
from explorer.model.errors import CancelledError
from explorer.model.language_model import LanguageModel
from explorer.model.run import Run
from tests.model.checkpoints import TEXT
from tests.model.test_generation import GREEDY, SENTENCE

NAMES = [
    "t5",
    "t5, deeper decoder",
    "marian",
    "bart, forced end",
    "gpt2",
    "gpt-neox",
    "llama",
    "qwen3",
    "mistral, sliding window",
    "gemma 2, soft cap",
    "gemma 3",
]
MASKED = "the cat <mask> on a <mask> and <mask>"


class Calls:
    """Counts forward passes of a model."""

    def __init__(self, lm: LanguageModel) -> None:
        self.count = 0
        self._handle = lm.model.register_forward_pre_hook(self._on_call)

    def _on_call(self, *_: Any) -> None:
        self.count += 1

    def remove(self) -> None:
        self._handle.remove()


def assert_same_run(found: Run, expected: Run, *, exactly: bool = False) -> None:
    """Text, logits, attention and the way a weight came about: all as in a run that was never elsewhere."""
    assert found.token_ids == expected.token_ids
    assert found.text == expected.text
    assert found.stop_reason == expected.stop_reason
    tolerance = 0.0 if exactly else 1e-5
    for ours, theirs in zip(found.steps, expected.steps, strict=True):
        np.testing.assert_allclose(ours.logits, theirs.logits, atol=tolerance, rtol=0)
        np.testing.assert_array_equal(ours.previous_ids, theirs.previous_ids)
        assert ours.index == theirs.index
    for kind, layers in found.lm.info.layers.items():
        np.testing.assert_allclose(found.attention(kind), expected.attention(kind), atol=1e-6)
        rows, columns = found.attention(kind, 0, 0).shape
        if rows:
            head = HeadRef(kind, layers - 1, 1)
            ours, theirs = (run.inspect(head, rows - 1, columns - 1) for run in (found, expected))
            np.testing.assert_allclose(ours.row_weights, theirs.row_weights, atol=1e-6)
            np.testing.assert_allclose(ours.values, theirs.values, atol=1e-5)


def forced(lm: LanguageModel, token_ids: list[int], text: str = TEXT, limit: int | None = None) -> Run:
    """A fresh run of exactly these tokens."""
    run = lm.generate(text, GREEDY, max_new_tokens=limit)
    for token_id in token_ids:
        run.step(force=token_id)
    return run


@pytest.mark.parametrize("name", NAMES)
def test_that_every_branch_is_as_a_fresh_run_of_its_tokens_without_another_pass(
    checkpoint: Callable[[str], Path], name: str
) -> None:
    lm = explorer.load(str(checkpoint(name)), device="cpu")
    run = lm.generate(TEXT, GREEDY, max_new_tokens=10)
    run.finish()
    first = run.node
    run.go_to(run.snapshot().nodes[2])
    run.step(force=50)
    run.finish()
    second = run.node
    for _ in range(3):
        run.back()
    run.step(force=60)
    third = run.node
    calls = Calls(lm)
    try:
        ends = {node: run.tree.path(node) for node in (first, second, third)}
        for node in (first, third, second, ROOT, third, first, second):
            run.go_to(node)
            assert run.node == node
            if node != ROOT:
                assert run.snapshot().nodes == ends[node]
        assert calls.count == 0
    finally:
        calls.remove()
    for node in ends:
        run.go_to(node)
        assert_same_run(run, forced(lm, run.token_ids, limit=10))
    # Cut off and put back, the cache goes on as if it had never been elsewhere.
    run.go_to(run.tree.path(first)[4])
    run.step(force=70)
    run.step()
    assert_same_run(run, forced(lm, run.token_ids, limit=10))


@pytest.mark.parametrize(
    ("name", "text"),
    [("en-gpt", "The weather today is"), ("en-mlm", "The [MASK] is [MASK] today."), ("fr-en", SENTENCE)],
)
def test_that_the_bundled_models_branch_search_and_are_looked_into(name: str, text: str) -> None:
    lm = explorer.load(name, device="cpu")
    run = lm.generate(text, GREEDY).finish(max_new_tokens=12)
    end = run.node
    run.go_to(run.snapshot().nodes[0])
    run.step(force=run.tree.nodes[2].step.best[1][0])  # type: ignore[union-attr]
    run.finish(max_new_tokens=12)
    assert len(run.tree.ends) == 2
    calls = Calls(lm)
    try:
        run.go_to(end)
        assert calls.count == 0
    finally:
        calls.remove()
    assert_same_run(run, lm.generate(text, GREEDY).finish(max_new_tokens=12), exactly=True)
    reading = run.inside()
    assert not any("could not be" in note for note in reading.notes)
    assert reading.lens is not None
    assert list(reading.lens.top_ids[:, -1, 0]) == [int(step.logits.argmax()) for step in run.steps]
    if lm.family != "encoder-only":
        found = run.beam_search(4, max_new_tokens=12)
        assert run.token_ids == list(found.hypotheses[0].token_ids)
        assert end in run.tree.ends


def test_that_walking_the_same_way_again_enters_the_nodes_that_are_there(fr_en: LanguageModel) -> None:
    params = SamplingParams(temperature=1.3, seed=5)
    run = fr_en.generate(SENTENCE, params).finish(max_new_tokens=8)
    tree, records = run.tree, tuple(run.steps)
    calls = Calls(fr_en)
    try:
        run.go_to(ROOT)
        run.finish(max_new_tokens=8)
        assert calls.count == 0
    finally:
        calls.remove()
    for step in run.steps:
        step.summarise()  # as the window does; what it ranks it may write-protect
    run.go_to(1)
    run.finish()
    assert len(run.tree.nodes) == len(tree.nodes)
    assert all(again is before for again, before in zip(run.steps, records, strict=True))


def test_that_a_token_chosen_in_another_way_renews_the_record_and_keeps_what_follows(
    fr_en: LanguageModel,
) -> None:
    run = fr_en.generate(SENTENCE, GREEDY).finish()
    end, text = run.node, run.text
    run.go_to(ROOT)
    run.step(force=run.tree.nodes[1].step.token.id)  # type: ignore[union-attr]
    assert run.node == 1
    assert [step.choice for step in run.steps] == ["forced"]
    run.go_to(end)
    assert run.text == text
    assert [step.choice for step in run.steps][:2] == ["forced", "greedy"]


def test_that_seeded_sampling_equals_a_straight_run_after_going_elsewhere_and_back(
    checkpoint: Callable[[str], Path],
) -> None:
    lm = explorer.load(str(checkpoint("gpt2")), device="cpu")
    params = SamplingParams(temperature=1.5, seed=4)
    straight = lm.generate(TEXT, params).finish(max_new_tokens=16)
    run = lm.generate(TEXT, params, max_new_tokens=16)
    for _ in range(5):
        run.step()
    here = run.node
    run.go_to(run.snapshot().nodes[1])
    run.step(force=33)
    for _ in range(4):
        run.step()
    run.go_to(here)
    run.finish()
    assert run.token_ids == straight.token_ids


def test_that_another_seed_from_the_start_draws_what_a_fresh_run_draws(
    checkpoint: Callable[[str], Path],
) -> None:
    lm = explorer.load(str(checkpoint("gpt2")), device="cpu")
    hot = SamplingParams(temperature=1.5)
    run = lm.generate(TEXT, hot.with_changes(seed=4), max_new_tokens=10).finish()
    for seed in (5, 4, 6):
        run.go_to(ROOT)
        run.params = hot.with_changes(seed=seed)
        run.finish()
        fresh = lm.generate(TEXT, hot.with_changes(seed=seed), max_new_tokens=10).finish()
        assert run.token_ids == fresh.token_ids


def test_that_a_branch_that_had_not_ended_is_finished_from_where_it_stands(fr_en: LanguageModel) -> None:
    run = fr_en.generate(SENTENCE, GREEDY)
    run.step()
    other = run.step(force=run.steps[0].best[1][0])
    node = run.node
    run.go_to(1)
    run.finish()
    run.go_to(node)
    assert not run.finished
    run.finish()
    assert run.token_ids[1] == other.token.id
    assert run.finished


@pytest.mark.parametrize("name", ["bert", "modernbert, sliding window"])
def test_that_filled_masks_branch_and_show_the_pass_they_were_chosen_from(
    checkpoint: Callable[[str], Path], name: str
) -> None:
    lm = explorer.load(str(checkpoint(name)), device="cpu")
    run = lm.generate(MASKED, GREEDY).finish()
    first = run.node
    run.go_to(1)
    run.step(force=44)
    second = run.node
    run.finish()
    third = run.node
    calls = Calls(lm)
    try:
        for node in (first, ROOT, second, third, first):
            run.go_to(node)
        assert calls.count == 0
    finally:
        calls.remove()
    for node in (first, second, third, ROOT):
        run.go_to(node)
        assert_same_run(run, forced(lm, run.token_ids, MASKED), exactly=True)


def test_that_names_stay_with_their_nodes(fr_en: LanguageModel) -> None:
    run = fr_en.generate(SENTENCE, GREEDY).finish()
    run.name_branch(2, " with love ")
    assert run.tree.names == {2: "with love"}
    run.go_to(ROOT)
    assert run.tree.names == {2: "with love"}
    run.name_branch(2, "")
    assert run.tree.names == {}


@pytest.mark.parametrize("node", [-1, 1])
def test_that_a_node_that_is_not_there_is_refused(fr_en: LanguageModel, node: int) -> None:
    run = fr_en.generate(SENTENCE, GREEDY)
    with pytest.raises(ValueError, match=f"no node {node}.*nodes 0 to 0"):
        run.go_to(node)
    with pytest.raises(ValueError, match=f"no node {node}"):
        run.name_branch(node, "x")


@pytest.mark.parametrize("name", ["t5", "marian", "gpt2", "gemma 2, soft cap"])
@pytest.mark.parametrize("steps_before", [0, 1, 3])
def test_that_a_pass_that_broke_off_leaves_the_run_as_it_was(
    checkpoint: Callable[[str], Path], name: str, steps_before: int
) -> None:
    lm = explorer.load(str(checkpoint(name)), device="cpu")
    run = lm.generate(TEXT, GREEDY, max_new_tokens=6)
    for _ in range(steps_before):
        run.step()
    calls = 0

    def cancel_in_the_middle(*_: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            lm.recorder.cancel.set()

    # The second of its attention modules says stop: the first has written to cache and notes by then.
    modules = [
        module for name, module in lm.model.named_modules() if name.endswith(("SelfAttention", "attn"))
    ]
    handles = [module.register_forward_pre_hook(cancel_in_the_middle) for module in modules]
    with pytest.raises(CancelledError):
        run.step()
    for handle in handles:
        handle.remove()
    lm.recorder.cancel.clear()
    assert len(run.steps) == steps_before
    assert_same_run(run.finish(), lm.generate(TEXT, GREEDY, max_new_tokens=6).finish(), exactly=True)


@pytest.mark.parametrize(
    ("value", "says"), [(float("nan"), "hold NaN"), (float("-inf"), "Every token is suppressed")]
)
def test_that_logits_without_a_choice_leave_the_run_usable(
    fr_en: LanguageModel, value: float, says: str
) -> None:
    run = fr_en.generate(SENTENCE, GREEDY)
    run.step()
    run.step()

    def spoil(_module: Any, _inputs: Any, outputs: Any) -> Any:
        outputs.logits = torch.full_like(outputs.logits, value)
        return outputs

    handle = fr_en.model.register_forward_hook(spoil)
    with pytest.raises(LogitsError, match=says):
        run.step()
    handle.remove()
    with pytest.raises(LogitsError, match=says):
        run.step(force=5)  # the pass is kept as it was: asking again changes nothing
    run.back()
    run.step(force=run.steps[0].best[1][0])
    assert run.finish().finished


def test_that_a_vocabulary_of_one_goes_on_to_the_limit(tmp_path: Path) -> None:
    config = transformers.GPT2Config(vocab_size=1, n_embd=32, n_layer=2, n_head=4, n_positions=128)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path)
    words = Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="a").save_pretrained(tmp_path)
    lm = explorer.load(str(tmp_path), device="cpu")
    run = lm.generate("a a", SamplingParams(seed=1)).finish(max_new_tokens=3)
    assert run.token_ids == [0, 0, 0]
    assert [step.probability for step in run.steps] == [1.0, 1.0, 1.0]
    assert [step.entropy_bits for step in run.steps] == [0.0, 0.0, 0.0]


@given(
    moves=st.lists(
        st.one_of(
            st.tuples(st.just("step"), st.integers(0, 95)),
            st.tuples(st.just("go"), st.integers(0, 10_000)),
            st.tuples(st.just("back"), st.just(0)),
            st.tuples(st.just("greedy"), st.just(0)),
        ),
        max_size=14,
    )
)
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@pytest.mark.parametrize("name", ["t5", "llama"])
def test_that_any_walk_ends_where_a_fresh_run_of_its_tokens_does(
    checkpoint: Callable[[str], Path], name: str, moves: list[tuple[str, int]]
) -> None:
    lm = loaded(checkpoint(name))
    run = lm.generate(TEXT, GREEDY, max_new_tokens=30)
    for move, value in moves:
        if move == "go":
            run.go_to(value % len(run.tree.nodes))
        elif move == "back":
            run.back()
        elif not run.finished:
            run.step(force=value if move == "step" else None)
    assert_same_run(run, forced(lm, run.token_ids, limit=30))


_MODELS: dict[Path, LanguageModel] = {}


def loaded(folder: Path) -> LanguageModel:
    if folder not in _MODELS:
        _MODELS[folder] = explorer.load(str(folder), device="cpu")
    return _MODELS[folder]


@given(
    st.lists(st.one_of(st.lists(st.integers(0, 9), min_size=1, max_size=5), st.integers(1, 4)), max_size=30)
)
def test_that_what_a_history_handed_out_never_changes(moves: list[list[int] | int]) -> None:
    history, expected = IdHistory([7]), [7]
    handed_out = []
    for move in moves:
        if isinstance(move, list):
            history.extend(move)
            expected = expected + move
        else:
            count = min(move, len(expected) - 1)
            history.drop(count)
            expected = expected[: len(expected) - count]
        handed_out.append((history.view(), expected))
    for view, ids in handed_out:
        assert view.tolist() == ids


@pytest.mark.parametrize("name", ["fr-en", "en-gpt", "en-mlm"])
@pytest.mark.parametrize("params", [SamplingParams(temperature=0), SamplingParams(temperature=1.3, seed=5)])
def test_that_a_restarted_run_is_a_new_run_that_keeps_its_branches(name: str, params: SamplingParams) -> None:
    lm = explorer.load(name)
    text = {"fr-en": "Je ne sais pas.", "en-gpt": "The old man", "en-mlm": "I like [MASK] and [MASK]."}[name]
    run = lm.generate(text, SamplingParams(temperature=1.5, seed=3))
    run.finish(max_new_tokens=12)
    first = tuple(run.token_ids)
    run.params = params
    run.restart()
    assert run.steps == []
    assert not run.finished
    run.finish(max_new_tokens=12)
    fresh = lm.generate(text, params).finish(max_new_tokens=12)
    assert run.token_ids == fresh.token_ids
    assert [step.params for step in run.steps] == [params] * len(run.steps)
    tree = run.tree
    ids = [tuple(tree.nodes[node].step.token.id for node in tree.path(end)) for end in tree.ends]
    assert first in ids
    # The same once more: every pass is there already.
    calls: list[int] = []
    hook = lm.model.register_forward_hook(lambda *_: calls.append(1))
    run.restart()
    run.finish(max_new_tokens=12)
    hook.remove()
    assert run.token_ids == fresh.token_ids
    assert calls == []
