"""What was chosen of languages, by model, without a model."""

from __future__ import annotations

import dataclasses

import pytest
from PySide6.QtTest import QSignalSpy

from explorer.app.language_state import LanguageState
from explorer.app.state import AppState
from explorer.core.languages import NO_LANGUAGES, LanguagePair
from explorer.core.records import ModelInfo
from explorer.panels.bars.model_badge import badge_tip
from tests.support import fill, make_model


def many(name: str = "m2m", *, target: str = "") -> ModelInfo:
    return dataclasses.replace(
        make_model(),
        name=name,
        source=f"/models/{name}",
        languages=("de", "en", "fr"),
        own_languages=LanguagePair("en", target),
    )


def test_that_a_model_begins_with_what_it_sets_itself(state: AppState) -> None:
    spy = QSignalSpy(state.languages.pair_changed)
    state.set_model(many(target="de"))
    assert state.languages.pair == LanguagePair("en", "de")
    assert state.languages.known == ("de", "en", "fr")
    assert state.languages.remark == ""
    state.set_model(make_model())
    assert state.languages.pair == NO_LANGUAGES
    assert state.languages.known == ()
    assert spy.count() == 2


def test_that_a_model_that_is_not_told_says_so(state: AppState) -> None:
    state.set_model(many())
    assert "its first token decides" in state.languages.remark
    assert "Tokens panel" in state.languages.remark
    assert not state.languages.refused


def test_that_a_model_may_be_told_nothing_at_all(state: AppState) -> None:
    state.set_model(dataclasses.replace(many("plbart"), own_languages=NO_LANGUAGES))
    assert state.languages.remark.startswith("plbart is not told which language it reads; it is not told")


def test_that_each_model_keeps_its_choice(state: AppState) -> None:
    languages = state.languages
    first, second = many("first"), many("second")
    state.set_model(first)
    languages.choose(LanguagePair("fr", "de"))
    state.set_model(second)
    assert languages.pair == LanguagePair("en", "")
    state.set_model(None)
    assert languages.pair == NO_LANGUAGES
    state.set_model(many("first"))
    assert languages.pair == LanguagePair("fr", "de")


def test_that_what_was_asked_for_before_is_for_the_first_model_alone(state: AppState) -> None:
    state.languages.ask(None, "fr")
    state.set_model(many("first"))
    assert state.languages.pair == LanguagePair("en", "fr")
    state.set_model(many("second"))
    assert state.languages.pair == LanguagePair("en", "")


@pytest.mark.parametrize("model", [many(), make_model()])
def test_that_a_language_the_model_does_not_know_is_said(state: AppState, model: ModelInfo) -> None:
    state.languages.ask("xx", None)
    state.set_model(model)
    assert state.languages.refused
    assert "'xx'" in state.languages.remark
    assert state.languages.pair == model.own_languages


def test_that_an_unknown_choice_is_refused_and_nothing_changes() -> None:
    languages = LanguageState()
    languages.set_model(many())
    with pytest.raises(ValueError, match="but not 'french'; did you mean fr"):
        languages.choose(LanguagePair("en", "french"))
    assert languages.pair == LanguagePair("en", "")


def test_that_a_run_in_another_language_is_of_before(state: AppState) -> None:
    run = fill(state)
    assert not state.stale
    state.set_model(many())
    state.set_run(dataclasses.replace(run, target_language="fr"))
    assert state.stale
    state.set_run(
        dataclasses.replace(run, source=dataclasses.replace(run.source, language="en"), target_language="")
    )
    assert not state.stale
    state.languages.choose(LanguagePair("en", "fr"))
    assert state.stale


def test_that_the_badge_tells_the_languages() -> None:
    assert "languages: 3; by itself it reads en and writes what its first token decides" in badge_tip(many())
    assert "writes fr" in badge_tip(many(target="fr"))
    assert "languages" not in badge_tip(make_model())
