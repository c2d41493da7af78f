"""The whole window, on the bundled model, the way a hand would use it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QAbstractButton, QLabel, QPushButton
from pytestqt.qtbot import QtBot

from explorer.commands.window import Parts
from explorer.core.selection import TokenRef
from explorer.panels.bars.notice_bar import NoticeBar
from tests.ui.conftest import settle

Open = Callable[..., Parts]


def click(qtbot: QtBot, parts: Parts, name: str) -> None:
    button = parts.window.findChild(QPushButton, f"{name}_button")
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def action(parts: Parts, text: str) -> QAction:
    return next(a for a in parts.window.findChildren(QAction) if a.text().replace("&", "") == text)


def test_that_the_window_is_usable_before_the_model_is_there(open_window: Open, qtbot: QtBot) -> None:
    parts = open_window(load=False)
    assert parts.window.isVisible()
    assert all(dock.isVisible() for dock in parts.window.docks.values())
    assert not parts.window.top_bar.step_button.isEnabled()
    qtbot.keyClicks(parts.window.top_bar.text_field, " Oui")
    assert parts.state.source_text.endswith(" Oui")


def test_that_the_badge_says_what_is_resident(open_window: Open) -> None:
    parts = open_window()
    assert parts.window.top_bar.badge.text() == "cpu · float32 · 7.6 M · 31 MB resident ▾"
    assert parts.window.top_bar.model_chooser.currentText() == "fr-en"


def test_that_stepping_by_button_translates_the_sentence(open_window: Open, qtbot: QtBot) -> None:
    parts = open_window()
    for _ in range(6):
        click(qtbot, parts, "step")
        settle(qtbot, parts)
    assert parts.state.run is not None
    assert parts.state.run.text == "I love machine learning."
    assert not parts.window.top_bar.step_button.isEnabled()
    click(qtbot, parts, "back")
    settle(qtbot, parts)
    assert parts.state.run.text == "I love machine learning."  # the end token has no text
    click(qtbot, parts, "back")
    settle(qtbot, parts)
    assert parts.state.run.text == "I love machine learning"
    assert parts.window.top_bar.step_button.isEnabled()
    click(qtbot, parts, "reset")
    settle(qtbot, parts)
    assert parts.state.run.steps == ()


def test_that_enter_in_the_text_field_runs_to_the_end(open_window: Open, qtbot: QtBot) -> None:
    parts = open_window(text="")
    field = parts.window.top_bar.text_field
    qtbot.keyClicks(field, "Merci.")
    qtbot.keyClick(field, Qt.Key.Key_Return)
    settle(qtbot, parts)
    assert parts.state.run is not None
    assert parts.state.run.source.text == "Merci."
    assert parts.state.run.finished
    assert not parts.state.stale


def test_that_typing_retokenizes_at_once(open_window: Open, qtbot: QtBot) -> None:
    parts = open_window()
    assert parts.state.source is not None
    before = len(parts.state.source)
    qtbot.keyClicks(parts.window.top_bar.text_field, " Oui.")
    qtbot.waitUntil(lambda: parts.state.source is not None and len(parts.state.source) > before)
    assert parts.state.source.text == parts.window.top_bar.text_field.text()


def test_that_one_selection_runs_through_all_panels(open_window: Open, qtbot: QtBot) -> None:
    parts = open_window()
    click(qtbot, parts, "run")
    settle(qtbot, parts)
    state = parts.state
    state.select(TokenRef("generated", 2))
    assert state.viewed_step == 2
    qtbot.keyClick(parts.window, Qt.Key.Key_Right)
    assert state.selection.token == TokenRef("generated", 3)
    assert state.viewed_step == 3
    qtbot.keyClick(parts.window, Qt.Key.Key_Left)
    qtbot.keyClick(parts.window, Qt.Key.Key_Left)
    assert state.selection.token == TokenRef("generated", 1)
    qtbot.keyClick(parts.window, Qt.Key.Key_Escape)
    assert state.selection.token is None


def test_that_empty_text_gets_one_line_that_can_be_dismissed(open_window: Open, qtbot: QtBot) -> None:
    parts = open_window()
    parts.window.top_bar.text_field.selectAll()
    qtbot.keyClick(parts.window.top_bar.text_field, Qt.Key.Key_Delete)
    qtbot.keyClick(parts.window.top_bar.text_field, Qt.Key.Key_Return)
    bar = parts.window.findChild(NoticeBar)
    assert bar.isVisible()
    assert any("The text is empty" in label.text() for label in bar.findChildren(QLabel))
    dismiss = next(b for b in bar.findChildren(QPushButton) if b.text() == "Dismiss")
    qtbot.mouseClick(dismiss, Qt.MouseButton.LeftButton)
    assert not bar.isVisible()


def test_that_a_closed_panel_comes_back_and_the_layout_resets(open_window: Open) -> None:
    parts = open_window(load=False)
    softmax = parts.window.docks["softmax"]
    attention = parts.window.docks["attention"]
    softmax.close()
    attention.setFloating(True)
    softmax.toggleViewAction().trigger()
    assert softmax.isVisible()
    softmax.close()
    action(parts, "Reset layout").trigger()
    assert softmax.isVisible()
    assert not attention.isFloating()


def test_that_the_arrangement_survives_a_restart(open_window: Open, settings_path: Path) -> None:
    parts = open_window(load=False)
    parts.window.docks["generation"].close()
    parts.theme.set_scheme("dark")
    parts.window.close()
    assert settings_path.is_file()
    again = open_window(load=False)
    assert not again.window.docks["generation"].isVisible()
    assert again.window.docks["tokens"].isVisible()


def test_that_closing_in_the_middle_of_a_run_ends_cleanly(open_window: Open, qtbot: QtBot) -> None:
    parts = open_window(text="Je ne sais pas ce que tu veux dire. " * 6)
    click(qtbot, parts, "run")
    qtbot.wait(20)
    parts.window.close()
    assert parts.controller.idle
    assert not parts.window.isVisible()


def test_that_closing_while_the_model_loads_ends_cleanly(open_window: Open, qtbot: QtBot) -> None:
    parts = open_window(load=False)
    parts.controller.load("fr-en")
    qtbot.wait(20)
    parts.window.close()
    assert parts.controller.idle


@pytest.mark.parametrize(
    "text", ["😀 👩‍👩‍👧 é", "<b>x</b> & \"#'", "\u202e\u05e9\u05dc\u05d5\u05dd", "mot " * 2000]
)
def test_that_any_text_can_be_run(open_window: Open, qtbot: QtBot, text: str) -> None:
    parts = open_window(text=text)
    for _ in range(3):
        click(qtbot, parts, "step")
        settle(qtbot, parts)
    assert parts.state.notice is None
    assert parts.state.run is not None
    assert len(parts.state.run.steps) == 3 or parts.state.run.finished


def test_that_everything_grows_together(open_window: Open, qtbot: QtBot) -> None:
    parts = open_window(load=False)
    button = parts.window.top_bar.step_button
    before = button.height()
    action(parts, "Classroom size").trigger()
    qtbot.waitUntil(lambda: button.height() > before)
    action(parts, "Normal size").trigger()
    qtbot.waitUntil(lambda: button.height() == before)


def test_that_another_model_can_be_chosen_in_the_middle_of_a_run(open_window: Open, qtbot: QtBot) -> None:
    parts = open_window(text="Je ne sais pas ce que tu veux dire. " * 6)
    click(qtbot, parts, "run")
    qtbot.wait(20)
    chooser = parts.window.top_bar.model_chooser
    chooser.setFocus()
    index = chooser.findText("en-gpt")
    chooser.setCurrentIndex(index)
    chooser.activated.emit(index)
    settle(qtbot, parts)
    state = parts.state
    assert state.notice is None
    assert state.model is not None
    assert (state.model.name, chooser.currentText()) == ("en-gpt", "en-gpt")
    assert state.run is not None
    assert (state.run.family, state.run.steps) == ("decoder-only", ())
    assert state.cloud is not None
    assert state.cloud.coordinates.shape[0] == state.model.vocabulary_size
    click(qtbot, parts, "step")
    settle(qtbot, parts)
    assert len(state.run.steps) == 1
    assert state.attention is not None
    assert state.attention.head.kind == "decoder"


def test_that_every_family_steps_through_the_same_window(open_window: Open, qtbot: QtBot) -> None:
    parts = open_window(text="I would like a cup of [MASK].")
    parts.state.model_requested.emit("en-mlm")
    settle(qtbot, parts)
    click(qtbot, parts, "step")
    settle(qtbot, parts)
    assert parts.state.run is not None
    assert parts.state.run.stop_reason == "every mask is filled in"
    assert parts.state.run.text.startswith("I would like a cup of ")
    click(qtbot, parts, "back")
    settle(qtbot, parts)
    assert parts.state.run.steps == ()
    assert parts.state.attention is not None
    assert parts.state.notice is None


def test_that_more_than_two_picks_are_compared_as_a_matrix(open_window: Open, qtbot: QtBot) -> None:
    parts = open_window()
    state = parts.state
    for index in range(3):
        state.select(TokenRef("source", index), extend=True)
    tools = parts.window.panels["embedding"].tools  # type: ignore[attr-defined]
    matrix_button = next(b for b in tools.findChildren(QAbstractButton) if b.text() == "matrix")
    matrix_button.click()
    settle(qtbot, parts)
    matrix = state.vectors.matrix
    assert matrix is not None
    assert matrix.ids == tuple(state.token_id(TokenRef("source", index)) for index in range(3))
    assert state.pair is not None
    assert state.pair.token_ids == matrix.ids[:2]
    assert matrix.cosines[0, 1] == pytest.approx(state.pair.cosine, abs=1e-6)
    state.select(TokenRef("source", 4), extend=True)
    settle(qtbot, parts)
    assert state.vectors.matrix is not None
    assert state.vectors.matrix.cosines.shape == (4, 4)
