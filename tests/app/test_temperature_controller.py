"""The same sentence at several temperatures, on the bundled model and the real worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

import explorer
from explorer.app.controller import Controller, ModelOptions
from explorer.app.state import AppState
from explorer.core.languages import LanguagePair
from explorer.core.sampling import SamplingParams
from explorer.core.temperature_grid import TemperatureGrid
from tests.model import real_layouts

SENTENCE = "Je ne sais pas ce que tu veux dire."
TIMEOUT_MS = 60_000
TEMPERATURES = (0.0, 0.7, 2.0)


@pytest.fixture
def controller(state: AppState) -> Iterator[Controller]:
    controller = Controller(state, ModelOptions(device="cpu"))
    yield controller
    controller.shut_down()


def settle(qtbot: QtBot, controller: Controller) -> None:
    if not controller.idle:
        with qtbot.waitSignal(controller.settled, timeout=TIMEOUT_MS):
            pass


def begin(qtbot: QtBot, state: AppState, controller: Controller, model: str, text: str) -> None:
    state.set_source_text(text)
    controller.load(model)
    settle(qtbot, controller)


def grid_of(state: AppState) -> TemperatureGrid:
    grid = state.temperatures.grid
    assert grid is not None
    return grid


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ("fr-en", SENTENCE),
        ("en-gpt", "The weather today is"),
        ("en-mlm", "I [MASK] to the [MASK] every day."),
    ],
)
def test_that_every_row_equals_a_run_of_its_own(
    qtbot: QtBot, state: AppState, controller: Controller, model: str, text: str
) -> None:
    state.set_sampling(SamplingParams(1.0, 40, seed=11))
    begin(qtbot, state, controller, model, text)
    run = state.run
    state.temperatures.grid_requested.emit(TEMPERATURES)
    assert state.temperatures.working
    settle(qtbot, controller)
    grid = grid_of(state)
    assert not state.temperatures.working
    assert grid.source_text == text
    lm = explorer.load(model, device="cpu")
    for temperature, row in zip(TEMPERATURES, grid.rows, strict=True):
        expected = lm.generate(text, SamplingParams(temperature, 40, seed=11)).finish()
        assert list(row.token_ids) == expected.token_ids
        assert (row.text, row.stop_reason) == (expected.text, expected.stop_reason)
        assert len(row.spans) == len(row.token_ids)
    for index in range(len(grid.rows)):
        same, different, rest = grid.parts(index)
        assert same + different + rest == grid.rows[index].text
        # One token, and not what stands around it.
        assert len(different.split()) <= 1
    assert grid.first_difference(0) is None
    assert state.run is run


def test_that_without_a_seed_all_rows_share_one_that_brings_them_back(
    qtbot: QtBot, state: AppState, controller: Controller
) -> None:
    state.set_sampling(SamplingParams(1.0))
    begin(qtbot, state, controller, "fr-en", SENTENCE)
    state.temperatures.grid_requested.emit((1.0, 2.0))
    settle(qtbot, controller)
    rows = grid_of(state).rows
    assert rows[0].params.seed is not None
    assert rows[0].params.seed == rows[1].params.seed
    state.set_sampling(rows[1].params)
    state.reset_requested.emit()
    state.finish_requested.emit()
    settle(qtbot, controller)
    assert state.run is not None
    assert state.run.token_ids == rows[1].token_ids


def test_that_a_grid_and_a_run_go_on_beside_each_other(
    qtbot: QtBot, state: AppState, controller: Controller
) -> None:
    begin(qtbot, state, controller, "fr-en", SENTENCE)
    state.set_sampling(SamplingParams(0.0, seed=2))
    state.temperatures.grid_requested.emit((0.0, 1.0, 1.5))
    state.reset_requested.emit()
    state.finish_requested.emit()
    settle(qtbot, controller)
    grid = grid_of(state)
    assert grid.current is None
    assert state.run is not None
    assert state.run.token_ids == grid.rows[0].token_ids
    expected = explorer.load("fr-en", device="cpu").generate(SENTENCE, SamplingParams(1.5, seed=2)).finish()
    assert list(grid.rows[2].token_ids) == expected.token_ids


def test_that_stop_keeps_what_is_there_and_another_text_ends_it(
    qtbot: QtBot, state: AppState, controller: Controller
) -> None:
    begin(qtbot, state, controller, "fr-en", SENTENCE)
    state.temperatures.grid_requested.emit((0.0, 2.0))
    with qtbot.waitSignal(state.temperatures.grid_changed, timeout=TIMEOUT_MS):
        pass
    state.temperatures.stop_requested.emit()
    stopped = grid_of(state)
    assert not state.temperatures.working
    settle(qtbot, controller)
    assert grid_of(state) is stopped
    assert stopped.rows[0].token_ids
    state.temperatures.grid_requested.emit((0.0, 2.0))
    state.set_source_text("Bonjour !")
    assert not state.temperatures.working
    settle(qtbot, controller)
    assert grid_of(state).source_text == SENTENCE
    assert grid_of(state).current is not None


def test_that_another_model_takes_the_grid_away(
    qtbot: QtBot, state: AppState, controller: Controller
) -> None:
    begin(qtbot, state, controller, "fr-en", SENTENCE)
    state.temperatures.grid_requested.emit((0.0, 2.0))
    state.model_requested.emit("en-gpt")
    assert not state.temperatures.working
    settle(qtbot, controller)
    assert state.temperatures.grid is None
    assert state.notice is None


def test_that_the_rows_are_in_the_language_that_was_chosen(
    qtbot: QtBot, state: AppState, controller: Controller, tmp_path: Path
) -> None:
    folder = real_layouts.make("m2m100", tmp_path / "m2m100")
    text = "the cat sat"
    begin(qtbot, state, controller, str(folder), text)
    state.languages.choose(LanguagePair("de", "fr"))
    settle(qtbot, controller)
    state.temperatures.grid_requested.emit((0.0, 1.0))
    settle(qtbot, controller)
    grid = grid_of(state)
    lm = explorer.load(folder, device="cpu")
    for row in grid.rows:
        expected = lm.generate(text, row.params, source_language="de", target_language="fr").finish()
        assert list(row.token_ids) == expected.token_ids
    assert grid.languages == LanguagePair("de", "fr")


def test_that_another_language_ends_a_grid(
    qtbot: QtBot, state: AppState, controller: Controller, tmp_path: Path
) -> None:
    begin(qtbot, state, controller, str(real_layouts.make("m2m100", tmp_path / "m2m100")), "the cat sat")
    state.temperatures.grid_requested.emit(TEMPERATURES)
    assert state.temperatures.working
    state.languages.choose(LanguagePair("en", "fr"))
    assert not state.temperatures.working
    settle(qtbot, controller)
