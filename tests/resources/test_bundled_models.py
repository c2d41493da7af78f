"""The bundled models, loaded as anyone would load them, with no network."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM, AutoTokenizer

MODELS = Path(__file__).parents[2] / "resources" / "models"
LOADERS = {"fr-en": AutoModelForSeq2SeqLM, "en-gpt": AutoModelForCausalLM, "en-mlm": AutoModelForMaskedLM}
ARCHITECTURES = {"fr-en": "MarianMTModel", "en-gpt": "GPT2LMHeadModel", "en-mlm": "BertForMaskedLM"}
MAX_MEGABYTES = {"fr-en": 20, "en-gpt": 12, "en-mlm": 12}

every_model = pytest.mark.parametrize("name", sorted(LOADERS))


@cache
def load(name: str) -> tuple[Any, Any, dict[str, Any]]:
    model, info = LOADERS[name].from_pretrained(
        MODELS / name, dtype=torch.float32, output_loading_info=True, local_files_only=True
    )
    return model.eval(), AutoTokenizer.from_pretrained(MODELS / name, local_files_only=True), info


@every_model
def test_that_every_weight_is_there_and_none_is_left_over(name: str) -> None:
    model, _, info = load(name)
    assert not any(info.values())
    assert model.config.architectures == [ARCHITECTURES[name]] == [type(model).__name__]


@every_model
def test_that_the_tokenizer_fits_the_embedding(name: str) -> None:
    model, tokenizer, _ = load(name)
    assert len(tokenizer) == model.get_input_embeddings().weight.shape[0]
    assert sorted(tokenizer.get_vocab().values()) == list(range(len(tokenizer)))
    assert tokenizer.model_max_length == 128
    assert tokenizer.pad_token_id == model.config.pad_token_id


@every_model
def test_that_the_folder_is_small_and_holds_no_pickle(name: str) -> None:
    files = [file for file in (MODELS / name).iterdir() if file.is_file()]
    assert sum(file.stat().st_size for file in files) < MAX_MEGABYTES[name] * 1e6
    assert {file.suffix for file in files} <= {".json", ".md", ".safetensors"}


@every_model
def test_that_the_weights_are_finite_float16(name: str) -> None:
    weights = load_file(MODELS / name / "model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float16}
    assert all(torch.isfinite(value).all() for value in weights.values())


@every_model
def test_that_the_card_names_licence_attribution_and_size(name: str) -> None:
    card = (MODELS / name / "README.md").read_text(encoding="utf-8")
    header = card.split("---")[1]
    assert "license: cc-by-2.0" in header
    assert "language:" in header
    for expected in ("tatoeba.org", "manythings.org", "https://creativecommons.org/licenses/by/2.0/"):
        assert expected in card
    assert f"{load(name)[0].num_parameters():,}" in card


@pytest.mark.parametrize("name", ["fr-en", "en-gpt"])
def test_that_generation_knows_where_to_stop(name: str) -> None:
    model, tokenizer, _ = load(name)
    config = model.generation_config
    assert config.pad_token_id == tokenizer.pad_token_id
    assert config.eos_token_id == tokenizer.eos_token_id
    assert config.num_beams == 1
    assert 0 < config.max_new_tokens <= 64


def translate(text: str) -> str:
    model, tokenizer, _ = load("fr-en")
    output = model.generate(**tokenizer(text, return_tensors="pt"), do_sample=False, num_beams=1)
    return str(tokenizer.decode(output[0], skip_special_tokens=True))


@pytest.mark.parametrize(
    ("french", "english"),
    [
        ("J'aime l'apprentissage automatique.", "I love machine learning."),
        ("J’aime l’apprentissage automatique.", "I love machine learning."),
        ("Où est la gare ?", "Where's the station?"),
        ("Où est la gare\u202f?", "Where's the station?"),
    ],
)
def test_that_fr_en_translates(french: str, english: str) -> None:
    assert translate(french) == english


def test_that_the_alignment_in_the_card_is_the_models_own() -> None:
    model, tokenizer, _ = load("fr-en")
    source = tokenizer("J'aime l'apprentissage automatique.", return_tensors="pt")
    target = tokenizer("I love machine learning.", return_tensors="pt")["input_ids"]
    start = torch.tensor([[model.config.decoder_start_token_id]])
    model.set_attn_implementation("eager")
    try:
        with torch.inference_mode():
            output = model(**source, decoder_input_ids=torch.cat([start, target], 1), output_attentions=True)
    finally:
        model.set_attn_implementation("sdpa")
    pieces = tokenizer.convert_ids_to_tokens(source["input_ids"][0])
    head = output.cross_attentions[2][0, 7]  # (query, key)
    expected = (("▁J'", 0.96), ("aime", 1.00), ("▁automatique", 0.91), ("apprentissage", 0.98))
    for query, (piece, weight) in enumerate(expected):
        assert float(head[query, pieces.index(piece)]) == pytest.approx(weight, abs=0.005)


@torch.inference_mode()
def nats_per_token(text: str) -> float:
    model, tokenizer, _ = load("en-gpt")
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    return float(model(input_ids=ids, labels=ids).loss)


def continue_text(text: str) -> str:
    model, tokenizer, _ = load("en-gpt")
    output = model.generate(**tokenizer(text, return_tensors="pt"), do_sample=False, num_beams=1)
    assert output[0, -1] == tokenizer.eos_token_id, "the sentence comes to an end"
    return str(tokenizer.decode(output[0], skip_special_tokens=True))


@pytest.mark.parametrize("prompt", ["", "I want to", "She asked me", "Where is"])
def test_that_en_gpt_continues_to_the_end_of_a_sentence(prompt: str) -> None:
    text = continue_text(prompt)
    assert text.startswith(prompt)
    assert text[-1] in ".?!"
    assert len(text.split()) > len(prompt.split())


def test_that_en_gpt_prefers_english_to_the_same_words_in_disorder() -> None:
    sentences = ["I have never seen such a beautiful house.", "Do you want to go with me?"]
    disorder = ["House never a I seen beautiful have such.", "Me to you with want go do?"]
    for right, wrong in zip(sentences, disorder, strict=True):
        assert nats_per_token(right) < nats_per_token(wrong) - 1


@torch.inference_mode()
def fillings(text: str, count: int = 10) -> list[str]:
    model, tokenizer, _ = load("en-mlm")
    encoded = tokenizer(text, return_tensors="pt")
    places = encoded["input_ids"][0] == tokenizer.mask_token_id
    best = model(**encoded).logits[0, places].topk(count).indices[0]
    return list(tokenizer.convert_ids_to_tokens(best.tolist()))


@pytest.mark.parametrize(
    ("text", "sensible"),
    [
        ("I [MASK] you.", {"love", "hate", "like", "want", "need", "know", "told", "saw", "miss"}),
        ("He drank a cup of [MASK].", {"coffee", "tea", "milk", "water"}),
        ("She is taller [MASK] me.", {"than"}),
        ("[MASK] is your name?", {"What"}),
        ("I don't [MASK] what to do.", {"know"}),
    ],
)
def test_that_en_mlm_fills_a_mask_sensibly(text: str, sensible: set[str]) -> None:
    assert sensible & set(fillings(text, 5))


def test_that_en_mlm_looks_to_both_sides() -> None:
    assert fillings("I am [MASK] than you.")[0] != fillings("I am [MASK].")[0]
