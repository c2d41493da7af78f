"""Settings as text: transformers reads what is copied, and pasting gives back what was copied."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import GenerationConfig

from explorer.core.sampling import GREEDY, SamplingParams
from explorer.core.settings_text import ReadSettings, as_generation_config, as_json, as_python, read_settings

settings_in_force = st.builds(
    SamplingParams,
    temperature=st.floats(0.01, 10),
    top_k=st.none() | st.integers(1, 300_000),
    top_p=st.none() | st.floats(0.0, 0.99),
    min_p=st.none() | st.floats(0.01, 1.0),
    typical_p=st.none() | st.floats(0.01, 0.99),
    repetition_penalty=st.none() | st.floats(0.5, 3.0),
    no_repeat_ngram_size=st.none() | st.integers(0, 9),
)


@given(settings_in_force)
def test_that_pasting_gives_back_what_was_copied(params: SamplingParams) -> None:
    assert read_settings(as_json(params)) == ReadSettings(params)
    assert read_settings(as_python(params)) == ReadSettings(params)


@given(settings_in_force)
def test_that_transformers_reads_the_copied_config(params: SamplingParams) -> None:
    config = GenerationConfig.from_dict(json.loads(as_json(params)))
    for name, value in as_generation_config(params).items():
        assert getattr(config, name) == value


def test_that_greedy_and_the_seed_survive() -> None:
    assert read_settings(as_json(GREEDY)).params == GREEDY
    assert read_settings(as_python(GREEDY)).params == GREEDY
    assert read_settings(as_json(SamplingParams(0.5)), seed=3).params == SamplingParams(0.5, seed=3)
    text = as_python(SamplingParams(0.5, seed=3))
    assert "set_seed(3)" in text
    assert read_settings(text, seed=8).params == SamplingParams(0.5, seed=3)


@pytest.mark.parametrize(
    ("text", "params", "not_taken"),
    [
        ("temperature=0.7, top_p=0.9", SamplingParams(0.7, top_p=0.9), ()),
        (
            "model.generate(**x, do_sample=True, top_k=5, num_beams=4)",
            SamplingParams(top_k=5),
            ("num_beams",),
        ),
        (
            '{"do_sample": true, "top_p": 0.9, "eta_cutoff": 0.003, "bad_words_ids": [[0]], "num_beams": 1}',
            SamplingParams(top_p=0.9),
            ("eta_cutoff", "bad_words_ids"),
        ),
        ('{"do_sample": false, "temperature": 0.6}', GREEDY, ()),
        ('{"do_sample": true, "top_k": null, "temperature": 0.6}', SamplingParams(0.6), ()),
    ],
)
def test_that_what_has_no_slider_is_named(
    text: str, params: SamplingParams, not_taken: tuple[str, ...]
) -> None:
    assert read_settings(text) == ReadSettings(params, not_taken)


def test_that_the_python_is_three_lines_that_compile() -> None:
    text = as_python(SamplingParams(0.7, 40, 0.9, seed=1))
    compile(text, "copied", "exec")
    assert text.count("\n") == 3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no sampling settings"),
        ("hello world", "no sampling settings"),
        ("{}", "no sampling settings"),
        ("{temperature", "cannot be read"),
        ("[1]", "no sampling settings"),
        ('{"do_sample": true, "temperature": "hot"}', "temperature must be a number"),
        ('{"do_sample": true, "top_p": 7}', "top_p must be from 0 to 1"),
        ("GenerationConfig(top_k=-1)", "top_k"),
        ('{"do_sample": true, "temperature": NaN}', "temperature must be 0"),
        ('{"do_sample": true, "top_k": 2.5}', "top_k must be a whole number"),
        ('{"do_sample": true, "top_k": true}', "top_k must be a number"),
        ('{"do_sample": true, "temperature": ["' + "x" * 500 + '"]}', "temperature must be a number"),
        ("transformers.set_seed(-4); model.generate(temperature=1.0)", "seed must be"),
        ('{"a":' * 20_000, "cannot be read"),
        ("(" * 20_000, "no sampling settings"),
        ("f(" * 200 + "x" + ")" * 200, "no sampling settings"),
        ("temperature\0=1", "no sampling settings"),
        ("x" * 200_000, "no sampling settings"),
        ("GenerationConfig(temperature=__import__('os').getpid())", "no sampling settings"),
        ("{'temperature': 0.7}", "cannot be read"),
    ],
)
def test_that_other_text_is_refused_with_a_reason(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as refused:
        read_settings(text)
    assert len(str(refused.value)) < 160
