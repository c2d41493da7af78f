"""Encoder-only models: masks filled one at a time, against the model's own forward pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

import explorer
from explorer.core.sampling import SamplingParams
from explorer.model.errors import RunFinishedError
from tests.model.checkpoints import ENCODER_ONLY

TEXT = "the cat <mask> on a <mask>"
MASK_ID = 4
HEADLESS = "bert without a head"


@pytest.mark.parametrize("name", [name for name in ENCODER_ONLY if name != HEADLESS])
def test_that_masks_are_filled_as_the_model_itself_would(
    checkpoint: Callable[[str], Path], name: str
) -> None:
    folder = checkpoint(name)
    lm = explorer.load(str(folder), device="cpu")
    run = lm.generate(TEXT).finish()
    model = transformers.AutoModelForMaskedLM.from_pretrained(folder, attn_implementation="eager").eval()
    ids = torch.tensor([run.source.ids])
    places = [i for i, token_id in enumerate(run.source.ids) if token_id == MASK_ID]
    assert len(run.steps) == len(places) == 2
    for step, place in zip(run.steps, places, strict=True):
        with torch.inference_mode():
            out = model(ids, output_attentions=True)
        np.testing.assert_allclose(step.logits, out.logits[0, place].numpy(), atol=1e-5)
        assert step.token.id == int(out.logits[0, place].argmax())
        ids[0, place] = step.token.id
    # The attention on show is that of the last pass, which still saw the last mask.
    np.testing.assert_allclose(run.attention("encoder"), torch.cat(out.attentions).numpy(), atol=1e-5)
    assert run.stop_reason == "every mask is filled in"


def test_that_a_filled_mask_can_be_taken_back_and_forced(checkpoint: Callable[[str], Path]) -> None:
    lm = explorer.load(str(checkpoint("bert")), device="cpu")
    run = lm.generate(TEXT, SamplingParams(temperature=2.0, seed=3)).finish()
    ids, text, attention = run.token_ids, run.text, run.attention("encoder")
    run.back()
    run.back()
    assert run.steps == []
    assert run.finish().token_ids == ids
    assert run.text == text
    np.testing.assert_allclose(run.attention("encoder"), attention, atol=1e-6)
    run.back()
    assert run.step(force=50).forced
    assert run.token_ids == [ids[0], 50]


def test_that_attention_is_there_before_the_first_step(checkpoint: Callable[[str], Path]) -> None:
    lm = explorer.load(str(checkpoint("bert")), device="cpu")
    run = lm.generate(TEXT)
    assert run.steps == []
    size = len(run.source)
    assert run.attention("encoder").shape == (2, 4, size, size)
    assert run.encoder_shape == (size, 32)


def test_that_a_text_without_a_mask_says_so(checkpoint: Callable[[str], Path]) -> None:
    lm = explorer.load(str(checkpoint("bert")), device="cpu")
    run = lm.generate("the cat sat")
    assert run.stop_reason == "the text has no <mask> to fill in"
    with pytest.raises(RunFinishedError, match="no <mask>"):
        run.step()
    assert run.attention("encoder", 0, 0).shape == (5, 5)


def test_that_a_bare_stack_still_shows_its_attention_and_vectors(checkpoint: Callable[[str], Path]) -> None:
    folder = checkpoint(HEADLESS)
    lm = explorer.load(str(folder), device="cpu")
    run = lm.generate(TEXT)
    assert run.stop_reason == "the model has no language-model head"
    model = transformers.BertModel.from_pretrained(folder, attn_implementation="eager").eval()
    with torch.inference_mode():
        out = model(torch.tensor([run.source.ids]), output_attentions=True)
    np.testing.assert_allclose(run.attention("encoder"), torch.cat(out.attentions).numpy(), atol=1e-5)
    assert lm.embedding_space().cosine("the", "cat") == pytest.approx(
        lm.embedding_space().cosine("cat", "the")
    )
