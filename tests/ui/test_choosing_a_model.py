"""Choosing, fetching, moving and converting models by hand, in the whole window."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, Qt
from pytestqt.qtbot import QtBot

from explorer.commands.window import Parts
from explorer.panels.models.model_dialog import ModelDialog
from tests.model import checkpoints
from tests.model.fake_hub import REPO, FakeHub, serve
from tests.ui.conftest import TIMEOUT_MS, settle

Open = Callable[..., Parts]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    folder = checkpoints.save(lambda: checkpoints.marian(encoder_ffn_dim=15_000), tmp_path / "served")
    with serve(folder, tmp_path / "cache", monkeypatch) as fake:
        yield fake


def dialog_of(qtbot: QtBot, parts: Parts) -> ModelDialog:
    """Ctrl+O, as a hand does it."""
    parts.window.activateWindow()
    qtbot.waitUntil(parts.window.isActiveWindow)
    qtbot.keyClick(parts.window, Qt.Key.Key_O, Qt.KeyboardModifier.ControlModifier)
    dialog = parts.window.model_dialog
    assert dialog is not None
    qtbot.waitExposed(dialog)
    settle(qtbot, parts)
    return dialog


def pick(qtbot: QtBot, dialog: ModelDialog, name: str) -> None:
    """Click the model in the list."""
    row = next(row for row in range(dialog.list.count()) if dialog.list.entry(row).name == name)
    item = dialog.list.item(row)
    dialog.list.scrollToItem(item)
    place: QPoint = dialog.list.visualItemRect(item).center()
    qtbot.mouseClick(dialog.list.viewport(), Qt.MouseButton.LeftButton, pos=place)


def test_that_a_bundled_model_is_looked_at_and_loaded_while_the_run_stays(
    qtbot: QtBot, open_window: Open
) -> None:
    parts = open_window()
    parts.state.finish_requested.emit()
    settle(qtbot, parts)
    dialog = dialog_of(qtbot, parts)
    assert dialog.facts.texts()["Architecture"] == "MarianMTModel"
    pick(qtbot, dialog, "en-gpt")
    settle(qtbot, parts)
    assert dialog.facts.texts()["Architecture"] == "GPT2LMHeadModel"
    assert dialog.options.verdict.text().startswith("Fits: needs 17 MB")
    assert parts.state.run is not None
    assert parts.state.run.text == "I love machine learning."
    qtbot.mouseClick(dialog.load_button, Qt.MouseButton.LeftButton)
    settle(qtbot, parts)
    assert parts.state.model is not None
    assert parts.state.model.name == "en-gpt"
    assert not dialog.isVisible()
    assert parts.window.top_bar.model_chooser.currentText() == "en-gpt"


def test_that_a_hub_model_is_downloaded_stopped_and_gone_on_with_by_hand(
    qtbot: QtBot, open_window: Open, hub: FakeHub
) -> None:
    parts = open_window()
    hub.seconds_per_chunk = 0.03
    dialog = dialog_of(qtbot, parts)
    assert not dialog.offline.isVisible()
    dialog.name_field.selectAll()
    qtbot.keyClicks(dialog.name_field, REPO)
    qtbot.keyClick(dialog.name_field, Qt.Key.Key_Return)
    settle(qtbot, parts)
    assert dialog.load_button.text().startswith("Download 8.0 MB")
    qtbot.mouseClick(dialog.load_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dialog.progress.value() > 200, timeout=TIMEOUT_MS)
    # Meanwhile the window works.
    parts.state.finish_requested.emit()
    qtbot.waitUntil(lambda: parts.state.run is not None and parts.state.run.finished, timeout=TIMEOUT_MS)
    assert dialog.stop_button.isVisible()
    qtbot.mouseClick(dialog.stop_button, Qt.MouseButton.LeftButton)
    settle(qtbot, parts)
    assert parts.state.model is not None
    assert parts.state.model.name == "fr-en"
    assert dialog.isVisible()
    hub.seconds_per_chunk = 0.0
    qtbot.mouseClick(dialog.load_button, Qt.MouseButton.LeftButton)
    settle(qtbot, parts)
    assert parts.state.model.name == REPO
    assert any(header for header in hub.sent("GET", "model.safetensors")), "it went on where it was"
    assert not dialog.isVisible()
    dialog = dialog_of(qtbot, parts)
    assert dialog.name() == parts.state.model.source
    assert dialog.facts.texts()["To download"] == "nothing"


def test_that_a_bad_folder_is_told_in_the_dialog_and_nothing_is_lost(
    qtbot: QtBot, open_window: Open, tmp_path: Path
) -> None:
    parts = open_window()
    dialog = dialog_of(qtbot, parts)
    dialog.choose(str(tmp_path))
    settle(qtbot, parts)
    assert "it has no config.json" in dialog.problem.text()
    assert not dialog.load_button.isEnabled()
    assert parts.state.notice is None
    assert parts.state.model is not None


def test_that_the_badge_converts_the_model_in_the_middle_of_a_run(qtbot: QtBot, open_window: Open) -> None:
    parts = open_window(text="Je ne sais pas ce que tu veux dire, mais je le ferai demain.")
    parts.state.models.surroundings_requested.emit()
    settle(qtbot, parts)
    parts.state.finish_requested.emit()
    qtbot.waitUntil(
        lambda: parts.state.run is not None and len(parts.state.run.steps) > 0, timeout=TIMEOUT_MS
    )
    badge = parts.window.top_bar.badge
    (action,) = [a for a in badge.menu_now().actions() if a.text() == "as bfloat16"]
    action.trigger()
    settle(qtbot, parts)
    assert parts.state.notice is None
    assert parts.window.top_bar.badge.text().startswith("cpu · bfloat16 · 7.6 M · 15 MB")
    assert "weights: 15 MB on cpu" in parts.window.top_bar.badge.toolTip()
    assert parts.state.source_text.startswith("Je ne sais pas")
    assert parts.state.run is not None
    parts.state.finish_requested.emit()
    settle(qtbot, parts)
    assert parts.state.run.finished


def test_that_the_chooser_leads_to_the_dialog(qtbot: QtBot, open_window: Open) -> None:
    parts = open_window()
    chooser = parts.window.top_bar.model_chooser
    index = chooser.findText("Other models …")
    chooser.activated.emit(index)
    assert parts.window.model_dialog is not None
    assert parts.window.model_dialog.isVisible()
    assert chooser.currentText() == "fr-en"
    settle(qtbot, parts)
