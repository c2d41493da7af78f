"""A checkpoint's generation settings in words, and that what is said to be in force is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from transformers import GenerationConfig, PreTrainedModel

import explorer
from explorer.core.own_settings import OwnSettings
from explorer.core.sampling import SamplingParams
from explorer.model.own_settings import read_own_settings
from tests.model import checkpoints

PIECES = ("<pad>", "</s>", "a", "b", "c", "d")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, OwnSettings()),
        ({"repetition_penalty": 1.0, "no_repeat_ngram_size": 0, "num_beams": 1}, OwnSettings()),
        ({"bad_words_ids": [[0], [2, 3]]}, OwnSettings(("bans <pad>, a b",))),
        ({"suppress_tokens": [0, 2, 3, 4, 5]}, OwnSettings(("bans <pad>, a, b and 2 more",))),
        (
            {"forced_bos_token_id": 4, "forced_eos_token_id": 99},
            OwnSettings(("begins with c", "ends with #99")),
        ),
        (
            {"repetition_penalty": 1.2, "max_length": 512, "max_new_tokens": 64},
            OwnSettings(("repetition penalty 1.2", "at most 64 new tokens")),
        ),
        ({"max_length": 512}, OwnSettings(("at most 512 tokens with what was read",))),
        (
            {"do_sample": True, "temperature": 0.6, "top_p": 0.9},
            OwnSettings((), SamplingParams(0.6, 50, 0.9)),
        ),
        ({"do_sample": True, "top_k": 0}, OwnSettings((), SamplingParams(1.0))),
        ({"temperature": 0.6, "top_k": 20}, OwnSettings()),
        (
            {"num_beams": 4, "epsilon_cutoff": 3e-4},
            OwnSettings((), None, ("num_beams 4", "epsilon_cutoff 0.0003")),
        ),
    ],
    ids=str,
)
def test_that_a_generation_config_is_put_into_words(config: dict, expected: OwnSettings) -> None:
    found = read_own_settings(GenerationConfig(**config), PIECES)
    assert found == expected
    assert bool(found.summary) == (found != OwnSettings())


def test_that_sampling_out_of_range_is_no_preset() -> None:
    config = GenerationConfig()
    config.do_sample, config.top_p = True, 3.0
    assert read_own_settings(config, PIECES).sampling is None


def test_that_the_bundled_models_say_what_they_set() -> None:
    fr_en = explorer.load("fr-en", device="cpu").info.own_settings
    assert fr_en == OwnSettings(("bans <pad>", "at most 64 new tokens"))
    assert "bans <pad>" in fr_en.summary
    assert explorer.load("en-mlm", device="cpu").info.own_settings == OwnSettings()


def test_that_the_rules_named_are_those_that_steps_follow(tmp_path: Path) -> None:
    def with_rules() -> PreTrainedModel:
        model = checkpoints.t5()
        model.generation_config.bad_words_ids = [[5], [6]]
        model.generation_config.repetition_penalty = 1.3
        return model

    lm = explorer.load(checkpoints.save(with_rules, tmp_path), device="cpu")
    assert [rule.split()[0] for rule in lm.info.own_settings.rules] == ["bans", "repetition"]
    step = lm.generate(checkpoints.TEXT).step()
    assert np.flatnonzero(np.isneginf(step.scores)).tolist() == [5, 6]
    seen = int(step.previous_ids[0])
    penalised = step.logits[seen] / 1.3 if step.logits[seen] > 0 else step.logits[seen] * 1.3
    assert step.scores[seen] == pytest.approx(penalised, rel=1e-6)
