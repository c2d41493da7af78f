"""Stepping, against ``model.generate`` as the independent reference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import explorer
from explorer.core.sampling import SamplingParams
from explorer.model.errors import ModelError, RunFinishedError, TextError
from explorer.model.language_model import LanguageModel
from tests.model.checkpoints import DECODER_ONLY, ENCODER_DECODERS, TEXT, save

GREEDY = SamplingParams(temperature=0)
SENTENCE = "J'aime l'apprentissage automatique."
SENTENCES = (
    SENTENCE,
    "Où est la gare ?",
    "Je ne sais pas ce que tu veux dire.",
    "Le modèle traduit chaque phrase mot à mot, sans jamais se fatiguer.",
)


def reference(folder: Path, family: str) -> Any:
    """The same checkpoint, loaded without the explorer, under transformers' default attention."""
    auto = {
        "encoder-decoder": transformers.AutoModelForSeq2SeqLM,
        "decoder-only": transformers.AutoModelForCausalLM,
    }[family]
    return auto.from_pretrained(folder, dtype=torch.float32).eval()


def generated(model: Any, ids: tuple[int, ...], *, cache: Any = None, **options: Any) -> list[int]:
    inputs = torch.tensor([ids])
    if cache is not None:
        options["past_key_values"] = cache
    out = model.generate(inputs, attention_mask=torch.ones_like(inputs), num_beams=1, **options)[0].tolist()
    start = 1 if model.config.is_encoder_decoder else len(ids)
    return out[start:]


@pytest.mark.parametrize("text", SENTENCES)
def test_that_greedy_stepping_of_the_bundled_model_equals_generate(fr_en: LanguageModel, text: str) -> None:
    source = fr_en.tokenize(text)
    run = fr_en.generate(source, GREEDY).finish(max_new_tokens=40)
    model = reference(fr_en.folder, fr_en.family)
    assert run.token_ids == generated(model, source.ids, do_sample=False, max_new_tokens=40)


def test_that_the_course_sentence_is_translated(fr_en: LanguageModel) -> None:
    run = fr_en.generate(SENTENCE).finish()
    assert run.text == "I love machine learning."
    assert run.stop_reason == "end-of-sequence token"
    assert run.token_ids[-1] == 1


@pytest.mark.parametrize("name", [*ENCODER_DECODERS, *DECODER_ONLY])
def test_that_greedy_stepping_of_random_checkpoints_equals_generate(
    checkpoint: Callable[[str], Path], name: str
) -> None:
    lm = explorer.load(str(checkpoint(name)), device="cpu")
    source = lm.tokenize(TEXT)
    run = lm.generate(source).finish(max_new_tokens=24)
    cache = None
    if name == "t5, deeper decoder":
        # transformers' own cache is built for the encoder's depth and fails here; a growing one works.
        cache = transformers.EncoderDecoderCache(transformers.DynamicCache(), transformers.DynamicCache())
    model = reference(checkpoint(name), lm.family)
    assert run.token_ids == generated(model, source.ids, cache=cache, do_sample=False, max_new_tokens=24)


@pytest.mark.parametrize("name", ["t5", "marian", "bart, forced end", "gpt2", "llama", "gemma 2, soft cap"])
@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(seed=3),
        SamplingParams(temperature=1.6, top_k=20, top_p=0.9, seed=11),
        SamplingParams(temperature=0.7, min_p=0.02, typical_p=0.95, seed=5),
        SamplingParams(temperature=2.0, repetition_penalty=1.3, no_repeat_ngram_size=2, seed=8),
    ],
)
def test_that_seeded_sampling_equals_generate_under_the_same_seed(
    checkpoint: Callable[[str], Path], name: str, params: SamplingParams
) -> None:
    lm = explorer.load(str(checkpoint(name)), device="cpu")
    source = lm.tokenize(TEXT)
    run = lm.generate(source, params).finish(max_new_tokens=24)
    model = reference(checkpoint(name), lm.family)
    assert params.seed is not None
    torch.manual_seed(params.seed)
    expected = generated(
        model,
        source.ids,
        do_sample=True,
        max_new_tokens=24,
        temperature=params.temperature,
        top_k=params.top_k or 0,
        top_p=params.top_p or 1.0,
        min_p=params.min_p,
        typical_p=params.typical_p or 1.0,
        repetition_penalty=params.repetition_penalty or 1.0,
        no_repeat_ngram_size=params.no_repeat_ngram_size or 0,
    )
    assert run.token_ids == expected


def test_that_a_step_holds_the_logits_and_scores_that_generate_reports(fr_en: LanguageModel) -> None:
    source = fr_en.tokenize(SENTENCE)
    run = fr_en.generate(source, GREEDY).finish()
    inputs = torch.tensor([source.ids])
    out = reference(fr_en.folder, fr_en.family).generate(
        inputs, do_sample=False, output_logits=True, output_scores=True, return_dict_in_generate=True
    )
    for step, logits, scores in zip(run.steps, out.logits, out.scores, strict=True):
        np.testing.assert_allclose(step.logits, logits[0].numpy(), atol=1e-4)
        np.testing.assert_allclose(step.scores, scores[0].numpy(), atol=1e-4)
        expected = torch.softmax(scores[0].double(), -1)[step.token.id].item()
        assert step.probability == pytest.approx(expected, abs=1e-5)
        assert step.rank == 0


@pytest.mark.parametrize(
    "name", ["t5", "marian", "bart", "gpt2", "llama", "mistral, sliding window", "gemma 2, soft cap"]
)
def test_that_going_back_and_on_again_changes_nothing(checkpoint: Callable[[str], Path], name: str) -> None:
    lm = explorer.load(str(checkpoint(name)), device="cpu")
    params = SamplingParams(temperature=1.5, seed=4)
    straight = lm.generate(TEXT, params).finish(max_new_tokens=12)
    run = lm.generate(TEXT, params, max_new_tokens=12)
    for _ in range(6):
        run.step()
    for _ in range(4):
        run.back()
    assert run.token_ids == straight.token_ids[:2]
    run.finish()
    assert run.token_ids == straight.token_ids
    for ours, theirs in zip(run.steps, straight.steps, strict=True):
        np.testing.assert_allclose(ours.logits, theirs.logits, atol=1e-5)
    kind = "cross" if "cross" in lm.info.layers else "decoder"
    np.testing.assert_allclose(run.attention(kind), straight.attention(kind), atol=1e-6)


def test_that_back_before_the_first_step_does_nothing(fr_en: LanguageModel) -> None:
    run = fr_en.generate(SENTENCE)
    assert run.back() is None
    run.step()
    run.back()
    assert run.back() is None
    assert run.text == ""
    assert run.finish().text == "I love machine learning."


def test_that_forcing_each_greedy_token_again_reproduces_the_run(fr_en: LanguageModel) -> None:
    greedy = fr_en.generate(SENTENCE).finish()
    forced = fr_en.generate(SENTENCE, SamplingParams(seed=1))
    for token_id in greedy.token_ids:
        forced.step(force=token_id)
    assert forced.finished
    assert forced.text == greedy.text
    assert all(step.forced for step in forced.steps)
    for ours, theirs in zip(forced.steps, greedy.steps, strict=True):
        np.testing.assert_array_equal(ours.logits, theirs.logits)


def test_that_a_forced_token_changes_what_follows(fr_en: LanguageModel) -> None:
    run = fr_en.generate(SENTENCE)
    we = next(i for i, _ in run.step().best if i != run.token_ids[0])
    run.back()
    step = run.step(force=we)
    assert (step.token.id, step.forced, step.rank > 0) == (we, True, True)
    run.finish()
    assert run.token_ids[0] == we


def test_that_reshaping_a_step_calls_no_model(fr_en: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    run = fr_en.generate(SENTENCE).finish()
    monkeypatch.setattr(fr_en.model, "forward", None)
    hot = run.steps[3].distribution(SamplingParams(temperature=2.0))
    assert hot.entropy_bits > run.steps[3].distribution(SamplingParams()).entropy_bits
    assert hot.probabilities.sum() == pytest.approx(1.0, abs=1e-5)


def test_that_a_step_after_the_end_says_why_there_is_none(fr_en: LanguageModel) -> None:
    run = fr_en.generate(SENTENCE).finish()
    with pytest.raises(RunFinishedError, match="end-of-sequence token"):
        run.step()
    run.back()
    assert not run.finished
    run.step()
    assert run.finished


def test_that_max_new_tokens_ends_the_loop_and_can_be_raised(fr_en: LanguageModel) -> None:
    run = fr_en.generate(SENTENCE).finish(max_new_tokens=3)
    assert len(run.steps) == 3
    assert run.stop_reason == "max_new_tokens (3) reached"
    run.finish(max_new_tokens=50)
    assert run.text == "I love machine learning."


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_that_empty_text_is_refused_in_one_sentence(fr_en: LanguageModel, text: str) -> None:
    with pytest.raises(TextError, match=r"^The text is empty"):
        fr_en.generate(text)


@pytest.mark.parametrize("token_id", [-1, 8000])
def test_that_a_forced_token_outside_the_vocabulary_is_refused(fr_en: LanguageModel, token_id: int) -> None:
    run = fr_en.generate(SENTENCE)
    with pytest.raises(ValueError, match="0 to 7999"):
        run.step(force=token_id)
    assert run.finish().text == "I love machine learning."


def test_that_a_model_with_a_running_state_is_refused_in_one_sentence(tmp_path: Path) -> None:
    config = transformers.MambaConfig(vocab_size=96, hidden_size=32, num_hidden_layers=2, state_size=8)
    save(lambda: transformers.MambaForCausalLM(config), tmp_path, eos=False)
    lm = explorer.load(str(tmp_path), device="cpu")
    with pytest.raises(ModelError, match="keeps a running state in place of keys and values"):
        lm.generate(TEXT)


def test_that_the_context_is_never_overrun(checkpoint: Callable[[str], Path]) -> None:
    lm = explorer.load(str(checkpoint("gpt2")), device="cpu")
    run = lm.generate(lm.tokenize("the cat sat " * 200)).finish(max_new_tokens=500)
    assert len(run.source) == 128
    assert run.source.cut_tokens > 0
    assert run.stop_reason == "the model's context of 128 tokens is full"
    assert len(run.steps) == 1
