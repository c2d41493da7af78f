"""Checkpoints as they lie on the hub load, and give what transformers gives for them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import explorer
from explorer.core.sampling import SamplingParams
from explorer.model.errors import TextError
from tests.model import real_layouts

AUTO = {
    "encoder-decoder": transformers.AutoModelForSeq2SeqLM,
    "decoder-only": transformers.AutoModelForCausalLM,
    "encoder-only": transformers.AutoModelForMaskedLM,
}
TEXT = "the cat sat on a mat"
STEPS = 6


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            made[name] = real_layouts.make(name, tmp_path_factory.mktemp("layout"))
        return made[name]

    return make


def reference(folder: Path, lm: explorer.model.language_model.LanguageModel, attention: str) -> Any:
    auto = AUTO[lm.family] if lm.has_head else transformers.AutoModel
    model = auto.from_pretrained(folder, dtype=torch.float32, attn_implementation=attention)
    return model.eval()


@pytest.mark.parametrize("name", real_layouts.LAYOUTS)
def test_that_it_reads_writes_and_attends_as_transformers_does(
    layout: Callable[[str], Path], name: str
) -> None:
    folder = layout(name)
    lm = explorer.load(str(folder), device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Marian's tokenizer recommends another package
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    mask = lm.text_tokenizer.mask_piece if lm.family == "encoder-only" else ""
    text = f"{TEXT} {mask}".strip()
    source = lm.tokenize(text)
    assert list(source.ids) == tokenizer(text)["input_ids"]
    assert len(lm.text_tokenizer.pieces) == lm.info.vocabulary_size
    eager = reference(folder, lm, "eager")
    ids = torch.tensor([source.ids])
    with torch.no_grad():
        if lm.family == "encoder-decoder":
            theirs = eager.get_encoder()(ids, output_attentions=True).attentions
        else:
            theirs = eager(ids, output_attentions=True).attentions
    if not lm.has_head:
        run = lm.generate(source)
        kind = "encoder"
    else:
        params = SamplingParams(temperature=0)
        run = lm.generate(source, params, max_new_tokens=STEPS).finish()
        kind = "decoder" if lm.family == "decoder-only" else "encoder"
    if lm.family != "encoder-only":
        expected = reference(folder, lm, "sdpa").generate(
            ids, do_sample=False, num_beams=1, max_new_tokens=STEPS, max_length=None
        )[0]
        start = len(source) if lm.family == "decoder-only" else 1
        assert list(run.token_ids) == expected[start:].tolist()
    for layer, weights in enumerate(theirs):
        for head in range(weights.shape[1]):
            ours = run.attention(kind, layer=layer, head=head)[: len(source), : len(source)]
            np.testing.assert_allclose(ours, weights[0, head].numpy(), atol=1e-5)
    (nearest, piece, cosine), *_ = lm.embedding_space().neighbours(int(source.ids[1]), 1)
    matrix = eager.get_input_embeddings().weight.detach().double()
    unit = matrix / matrix.norm(dim=1, keepdim=True)
    cosines = unit @ unit[source.ids[1]]
    assert piece == lm.text_tokenizer.pieces[nearest]
    assert cosine == pytest.approx(float(cosines[nearest]), abs=1e-5)
    assert lm.positions()


def test_that_rows_beyond_the_tokenizer_are_named_as_unused(layout: Callable[[str], Path]) -> None:
    lm = explorer.load(str(layout("qwen2.5")), device="cpu")
    known = len(lm.text_tokenizer.tokenizer)
    assert lm.text_tokenizer.pieces[known] == f"<unused {known}>"
    assert lm.text_tokenizer.token(known).text == ""


def test_that_a_language_beyond_the_vocabulary_has_its_name(layout: Callable[[str], Path]) -> None:
    lm = explorer.load(str(layout("m2m100")), device="cpu")
    tokenizer = lm.text_tokenizer.tokenizer
    assert lm.text_tokenizer.pieces[tokenizer.get_lang_id("fr")] == "__fr__"


def test_that_a_special_token_without_a_row_is_refused_in_a_text_only(layout: Callable[[str], Path]) -> None:
    lm = explorer.load(str(layout("gemma-3-1b")), device="cpu")
    assert lm.tokenize("the cat").ids
    with pytest.raises(TextError, match="image_soft_token"):
        lm.tokenize("the <image_soft_token> cat")


@pytest.mark.parametrize("name", ["opus-mt", "gpt2", "bert-base-uncased"])
def test_that_other_models_have_nothing_to_note(layout: Callable[[str], Path], name: str) -> None:
    assert explorer.load(str(layout(name)), device="cpu").info.notes == ()
