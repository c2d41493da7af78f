from __future__ import annotations

import pytest
import torch

import explorer
from explorer.core.stopping import Stopping


@pytest.mark.parametrize(
    ("name", "text", "strings"),
    [
        ("fr-en", "J'aime l'apprentissage automatique.", ("machine",)),
        ("fr-en", "J'aime l'apprentissage automatique.", ("chine le", "never")),
        ("en-gpt", "The old man", ("killed",)),
        ("en-gpt", "The old man", ("by a",)),
    ],
)
def test_that_a_stop_string_ends_the_run_where_generate_does(
    name: str, text: str, strings: tuple[str, ...]
) -> None:
    lm = explorer.load(name)
    run = lm.generate(text)
    run.stop_when(Stopping(strings=strings))
    run.finish()
    source = torch.tensor([lm.tokenize(text).ids])
    with torch.inference_mode():
        ids = lm.model.generate(
            source,
            do_sample=False,
            num_beams=1,
            max_new_tokens=60,
            stop_strings=list(strings),
            tokenizer=lm.text_tokenizer.tokenizer,
        )[0].tolist()
    given = source.shape[1] if name == "en-gpt" else 1
    assert run.token_ids == ids[given:]
    assert run.stop_reason == f"stop string “{strings[0]}” written"


def test_that_a_run_goes_on_when_its_conditions_are_lifted() -> None:
    run = explorer.load("fr-en").generate("J'aime l'apprentissage automatique.")
    run.stop_when(Stopping(max_new_tokens=2))
    run.finish()
    assert run.stop_reason == "max_new_tokens (2) reached"
    run.stop_when(Stopping(strings=("machine",)))
    assert not run.finished
    run.finish()
    assert run.text == "I love machine"
    run.stop_when(Stopping())
    assert not run.finished
    assert run.finish().text == "I love machine learning."
    # Back on the branch, each place ends or not by the conditions that are in force.
    run.go_to(2)
    run.stop_when(Stopping(max_new_tokens=2))
    assert run.finished


def test_that_a_checkpoints_own_stop_strings_hold_until_a_person_gives_others() -> None:
    lm = explorer.load("fr-en")
    lm.model.generation_config.stop_strings = ["love"]
    run = lm.generate("J'aime l'apprentissage automatique.").finish()
    assert run.text == "I love"
    run.stop_when(Stopping(strings=("machine",)))
    assert run.finish().text == "I love machine"
    assert lm.model.generation_config.stop_strings == ["love"]


def test_that_masks_have_a_limit_and_no_stop_strings() -> None:
    run = explorer.load("en-mlm").generate("I like [MASK] and [MASK] a lot.")
    run.stop_when(Stopping(max_new_tokens=1, strings=("a",)))
    run.finish()
    assert len(run.steps) == 1
    assert run.stop_reason == "max_new_tokens (1) reached"


@pytest.mark.parametrize("wrong", [{"max_new_tokens": 0}, {"strings": ("a", "")}])
def test_that_conditions_that_make_no_sense_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match="must"):
        Stopping(**wrong)
