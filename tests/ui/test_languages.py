"""A person chooses what a model of many languages reads and writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QFontMetrics, QWheelEvent
from PySide6.QtWidgets import QApplication, QPushButton
from pytestqt.qtbot import QtBot

import explorer
from explorer.commands.window import Parts, fall_back
from explorer.core.languages import LanguagePair
from explorer.panels.tokens.language_box import LanguageBox, language_name
from tests.model import real_layouts
from tests.ui.conftest import settle

Open = Callable[..., Parts]
TEXT = "the cat sat on a mat"


@pytest.fixture(scope="module")
def m2m100(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return real_layouts.make("m2m100", tmp_path_factory.mktemp("window") / "m2m100")


def opened(qtbot: QtBot, open_window: Open, folder: Path, text: str = TEXT) -> Parts:
    parts = open_window(load=False, text=text)
    parts.controller.load(str(folder))
    settle(qtbot, parts)
    return parts


def box_of(parts: Parts, name: str) -> LanguageBox:
    box = parts.window.findChild(LanguageBox, f"{name}_language")
    assert box is not None
    return box


def choose(qtbot: QtBot, parts: Parts, name: str, shown: str) -> None:
    """Open the list and click the language in it."""
    box = box_of(parts, name)
    qtbot.mouseClick(box, Qt.MouseButton.LeftButton)
    view = box.view()
    qtbot.waitUntil(view.isVisible)
    index = box.model().index(box.findText(shown), 0)
    assert index.isValid()
    view.scrollTo(index)
    # A list that has just opened takes a click for the end of the press that opened it.
    qtbot.wait(QApplication.doubleClickInterval() + 50)
    qtbot.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=view.visualRect(index).center())
    qtbot.waitUntil(lambda: not view.isVisible())
    assert box.currentText() == shown


def run_to_the_end(qtbot: QtBot, parts: Parts) -> None:
    button = parts.window.findChild(QPushButton, "run_button")
    assert button is not None
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    settle(qtbot, parts)


def test_that_both_are_chosen_by_hand_and_the_run_begins_anew(
    qtbot: QtBot, open_window: Open, m2m100: Path
) -> None:
    parts = opened(qtbot, open_window, m2m100)
    state = parts.state
    assert state.notice is not None
    assert not state.notice.error
    assert "reads the text as en; it is not told which language to write" in state.notice.text
    assert [box_of(parts, name).currentText() for name in ("source", "target")] == [
        "English (en)",
        "not told",
    ]
    run_to_the_end(qtbot, parts)
    untold = state.run
    assert untold is not None
    choose(qtbot, parts, "source", "German (de)")
    assert state.stale
    qtbot.waitUntil(lambda: state.source is not None and state.source.language == "de")
    assert state.source is not None
    assert state.source.tokens[0].piece == "__de__"
    settle(qtbot, parts)
    assert not state.stale
    assert state.run is not None
    assert state.run.run_id != untold.run_id
    choose(qtbot, parts, "target", "French (fr)")
    settle(qtbot, parts)
    run_to_the_end(qtbot, parts)
    run = state.run
    expected = explorer.load(m2m100, device="cpu").generate(TEXT, source_language="de", target_language="fr")
    assert run.token_ids == tuple(expected.finish().token_ids)
    assert run.languages == state.languages.pair == LanguagePair("de", "fr")
    assert run.steps[0].token.piece == "__fr__"
    assert not run.text.startswith("__fr__")


def test_that_the_choice_lasts_for_the_session_and_other_models_have_none(
    qtbot: QtBot, open_window: Open, m2m100: Path
) -> None:
    parts = opened(qtbot, open_window, m2m100)
    choose(qtbot, parts, "target", "Japanese (ja)")
    settle(qtbot, parts)
    parts.controller.load("fr-en")
    settle(qtbot, parts)
    assert not box_of(parts, "source").isVisible()
    assert not box_of(parts, "target").isVisible()
    assert parts.state.run is not None
    assert parts.state.run.languages == LanguagePair()
    run_to_the_end(qtbot, parts)
    parts.controller.load(str(m2m100))
    settle(qtbot, parts)
    assert box_of(parts, "target").isVisible()
    assert box_of(parts, "target").currentText() == "Japanese (ja)"
    assert parts.state.run.languages == LanguagePair("en", "ja")


def test_that_step_right_after_choosing_takes_the_new_language(
    qtbot: QtBot, open_window: Open, m2m100: Path
) -> None:
    parts = opened(qtbot, open_window, m2m100)
    choose(qtbot, parts, "target", "Welsh (cy)")
    step = parts.window.findChild(QPushButton, "step_button")
    assert step is not None
    qtbot.mouseClick(step, Qt.MouseButton.LeftButton)
    settle(qtbot, parts)
    run = parts.state.run
    assert run is not None
    assert [token.token.piece for token in run.steps] == ["__cy__"]


def test_that_what_was_asked_of_a_missing_model_is_not_asked_of_the_one_in_its_place(
    qtbot: QtBot, open_window: Open, tmp_path: Path
) -> None:
    parts = open_window(load=False)
    parts.state.languages.ask("de", "fr")
    parts.controller.load(str(tmp_path / "gone"))
    settle(qtbot, parts)
    fall_back(parts.state)
    settle(qtbot, parts)
    assert parts.state.model is not None
    assert parts.state.model.name == "fr-en"
    assert parts.state.notice is not None
    assert "gone" in parts.state.notice.text


@pytest.mark.parametrize("size", [(1366, 768), (1000, 620)])
@pytest.mark.parametrize("scale", [1.0, 1.6])
def test_that_nothing_of_them_is_cut(
    qtbot: QtBot, open_window: Open, m2m100: Path, size: tuple[int, int], scale: float
) -> None:
    parts = opened(qtbot, open_window, m2m100)
    parts.theme.set_scale(scale)
    parts.window.resize(*size)
    parts.state.languages.choose(LanguagePair("gd", "zh"))
    settle(qtbot, parts)
    for name in ("source", "target"):
        box = box_of(parts, name)
        assert box.width() >= QFontMetrics(box.font()).horizontalAdvance(
            box.currentText()
        ) + parts.theme.space(3)
        assert box.height() >= QFontMetrics(box.font()).height()
        parent = box.parentWidget()
        assert parent is not None
        assert parent.rect().contains(box.geometry())


def test_that_a_wheel_that_passes_by_changes_nothing(qtbot: QtBot, open_window: Open, m2m100: Path) -> None:
    parts = opened(qtbot, open_window, m2m100)
    box = box_of(parts, "target")
    down = QWheelEvent(
        QPointF(5, 5),
        QPointF(box.mapToGlobal(QPoint(5, 5))),
        QPoint(0, 0),
        QPoint(0, -120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(box, down)
    assert box.currentText() == "not told"
    assert parts.state.languages.pair == LanguagePair("en", "")


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("fr", "French (fr)"),
        ("fr_XX", "French (fr_XX)"),
        ("fra_Latn", "French (fra_Latn)"),
        ("zho_Hant", "Chinese (zho_Hant)"),
        ("arb_Arab", "Arabic (arb_Arab)"),
        ("swh_Latn", "Swahili (swh_Latn)"),
        ("__java__", "__java__"),
        ("ns", "ns"),
    ],
)
def test_that_codes_are_shown_with_the_names_of_their_languages(code: str, shown: str) -> None:
    assert language_name(code) == shown
