"""Languages are read and written as transformers itself does when it is told them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import explorer
from explorer.core.languages import NO_LANGUAGES, LanguagePair
from explorer.core.sampling import GREEDY, SamplingParams
from explorer.model.errors import ModelError
from explorer.model.language_model import LanguageModel
from tests.model import real_layouts

TEXT = "the cat sat on a mat"
STEPS = 7
# Layout, how many languages it has, what the checkpoint sets, and two others to read and to write.
MODELS = {
    "m2m100": (100, LanguagePair("en", ""), "de", "fr"),
    "mbart": (25, LanguagePair("en_XX", ""), "de_DE", "fr_XX"),
    "mbart-large-en-ro": (25, LanguagePair("en_XX", "ro_RO"), "de_DE", "fr_XX"),
    "mbart-50": (52, LanguagePair("en_XX", "fr_XX"), "de_DE", "uk_UA"),
    "plbart": (3, LanguagePair("", ""), "__java__", "__python__"),
    "nllb": (202, LanguagePair("eng_Latn", ""), "deu_Latn", "fra_Latn"),
}


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[LanguageModel, Any, Any]]:
    """Our model, and transformers' own model and tokenizer of the same checkpoint."""
    made: dict[str, tuple[LanguageModel, Any, Any]] = {}

    def get(name: str) -> tuple[LanguageModel, Any, Any]:
        if name not in made:
            folder: Path = real_layouts.make(name, tmp_path_factory.mktemp("languages"))
            theirs = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32).eval()
            made[name] = (
                explorer.load(str(folder), device="cpu"),
                theirs,
                transformers.AutoTokenizer.from_pretrained(folder),
            )
        return made[name]

    return get


def told(name: str, tokenizer: Any, code: str) -> dict[str, int]:
    """What the documentation of each model has ``generate`` given."""
    if name == "m2m100":
        return {"forced_bos_token_id": tokenizer.get_lang_id(code)}
    if name == "mbart-large-en-ro":
        return {"decoder_start_token_id": tokenizer.lang_code_to_id[code]}
    return {"forced_bos_token_id": tokenizer.convert_tokens_to_ids(code)}


@pytest.mark.parametrize("name", MODELS)
def test_that_the_languages_are_those_of_the_tokenizer(opened: Any, name: str) -> None:
    lm, _, tokenizer = opened(name)
    count, own, source, target = MODELS[name]
    assert len(lm.languages) == len(set(lm.languages)) == count
    assert {source, target} <= set(lm.languages)
    assert lm.info.languages == lm.languages
    assert lm.info.own_languages == lm.own_languages == own
    assert lm.info.notes == ()
    for code in lm.languages:
        assert lm.text_tokenizer.languages[code] == next(iter(told(name, tokenizer, code).values()))
        assert lm.text_tokenizer.token(lm.text_tokenizer.languages[code]).special


@pytest.mark.parametrize("name", MODELS)
def test_that_a_text_is_read_in_the_language_it_is_said_to_be_in(opened: Any, name: str) -> None:
    lm, _, tokenizer = opened(name)
    _, own, source, _ = MODELS[name]
    tokenizer.src_lang = source
    theirs = tokenizer(TEXT)["input_ids"]
    read = lm.tokenize(TEXT, source_language=source)
    assert list(read.ids) == theirs
    assert read.language == source
    assert lm.text_tokenizer.languages[source] in read.ids
    # It lasts for this text alone: the next one is read as the checkpoint has it.
    tokenizer.src_lang = own.source or None
    plain = lm.tokenize(TEXT)
    assert list(plain.ids) == tokenizer(TEXT)["input_ids"] != theirs
    assert plain.language == own.source
    spans = [(token.span, token.text.strip()) for token in read.tokens if token.span is not None]
    assert spans
    assert all(TEXT[start:end].strip() == text for (start, end), text in spans if text)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("name", MODELS)
def test_that_what_is_written_equals_generate(opened: Any, name: str, temperature: float) -> None:
    lm, theirs, tokenizer = opened(name)
    _, _, source, target = MODELS[name]
    tokenizer.src_lang = source
    inputs = tokenizer(TEXT, return_tensors="pt")
    options: dict[str, Any] = {"do_sample": False}
    if temperature:
        options = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
        torch.manual_seed(3)
    expected = theirs.generate(
        **inputs,
        **options,
        **told(name, tokenizer, target),
        num_beams=1,
        max_new_tokens=STEPS,
        max_length=None,
    )[0]
    params = SamplingParams(temperature=temperature, seed=3 if temperature else None)
    run = lm.generate(
        TEXT, params, max_new_tokens=STEPS, source_language=source, target_language=target
    ).finish()
    assert [token.id for token in run.start_tokens] + run.token_ids == expected.tolist()
    assert run.snapshot().languages == LanguagePair(source, target)
    assert lm.text_tokenizer.languages[target] in expected[:2]
    assert target not in run.text


@pytest.mark.parametrize("name", MODELS)
def test_that_a_beam_search_writes_the_language_too(opened: Any, name: str) -> None:
    lm, theirs, tokenizer = opened(name)
    _, own, _, target = MODELS[name]
    tokenizer.src_lang = own.source or None
    expected = theirs.generate(
        **tokenizer(TEXT, return_tensors="pt"),
        **told(name, tokenizer, target),
        do_sample=False,
        num_beams=3,
        max_new_tokens=STEPS,
        max_length=None,
    )[0]
    run = lm.generate(TEXT, max_new_tokens=STEPS, target_language=target)
    run.beam_search(3)
    written = [token.id for token in run.start_tokens] + run.token_ids
    assert written == expected[: len(written)].tolist()
    assert set(expected[len(written) :].tolist()) <= {tokenizer.pad_token_id, tokenizer.eos_token_id}


@pytest.mark.parametrize("name", MODELS)
def test_that_untold_it_writes_what_the_checkpoint_sets(opened: Any, name: str) -> None:
    lm, theirs, tokenizer = opened(name)
    _, own, _, target = MODELS[name]
    tokenizer.src_lang = own.source or None
    lm.generate(TEXT, max_new_tokens=2, target_language=target).finish()
    expected = theirs.generate(
        **tokenizer(TEXT, return_tensors="pt"),
        do_sample=False,
        num_beams=1,
        max_new_tokens=STEPS,
        max_length=None,
    )[0]
    run = lm.generate(TEXT, max_new_tokens=STEPS).finish()
    assert [token.id for token in run.start_tokens] + run.token_ids == expected.tolist()
    assert run.snapshot().languages == own
    assert "begins with" not in lm.info.own_settings.summary


def test_that_the_language_stays_through_going_back_and_other_stopping(opened: Any) -> None:
    lm, _, _ = opened("m2m100")
    run = lm.generate(TEXT, max_new_tokens=4, target_language="fr").finish()
    first = run.token_ids
    run.restart()
    run.params = GREEDY.with_changes(repetition_penalty=1.0001)
    assert run.step().token.piece == "__fr__"
    run.back()
    run.params = GREEDY
    assert run.finish().token_ids == first


@pytest.mark.parametrize(
    ("name", "code", "hint"),
    [("nllb", "fr", "fra_Latn"), ("mbart-50", "fra", "fr_XX"), ("m2m100", "", "af to zu")],
)
def test_that_an_unknown_language_is_refused_in_one_sentence(
    opened: Any, name: str, code: str, hint: str
) -> None:
    lm, _, _ = opened(name)
    for ask in (
        lambda: lm.tokenize(TEXT, source_language=code),
        lambda: lm.generate(TEXT, source_language=code),
        lambda: lm.generate(TEXT, target_language=code),
    ):
        with pytest.raises(ModelError, match=hint) as caught:
            ask()
        assert repr(code) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_that_a_tokenized_text_is_not_read_as_another_language(opened: Any) -> None:
    lm, _, _ = opened("m2m100")
    read = lm.tokenize(TEXT, source_language="de")
    assert lm.generate(read, source_language="de", target_language="fr").source is read
    with pytest.raises(ValueError, match="tokenized as de"):
        lm.generate(read, source_language="fr")


@pytest.mark.parametrize("name", ["fr-en", "en-gpt", "en-mlm"])
def test_that_a_model_without_languages_says_so(name: str) -> None:
    lm = explorer.load(name, device="cpu")
    assert lm.languages == ()
    assert lm.info.own_languages == NO_LANGUAGES
    assert lm.tokenize(TEXT).language == ""
    with pytest.raises(ModelError, match="no languages to choose from"):
        lm.generate(TEXT, target_language="fr")
    with pytest.raises(ModelError, match="no languages to choose from"):
        lm.tokenize(TEXT, source_language="fr")
