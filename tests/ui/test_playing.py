"""Playing a run and looking inside its steps by hand, in the whole window, on the bundled models."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction
from PySide6.QtTest import QSignalSpy
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from explorer.app.generation_state import SPEEDS, Speed
from explorer.commands.window import Parts
from explorer.core.moments import Moment
from explorer.panels.bars.pipeline_strip import PipelineStrip
from explorer.panels.bars.stop_dialog import StopDialog
from tests.ui.conftest import TIMEOUT_MS, settle

Open = Callable[..., Parts]


def play(qtbot: QtBot, parts: Parts) -> None:
    qtbot.mouseClick(parts.window.play_bar.play_button, Qt.MouseButton.LeftButton)


def line(parts: Parts) -> str:
    return parts.window.findChild(QLabel, "moment_line").text()


def test_that_play_writes_the_whole_sentence_step_by_step(open_window: Open, qtbot: QtBot) -> None:
    parts = open_window()
    seen: list[int] = []
    parts.state.run_changed.connect(
        lambda: seen.append(len(parts.state.run.steps) if parts.state.run else -1)
    )
    parts.state.generation.set_speed(Speed("quick", 50.0))
    play(qtbot, parts)
    assert parts.window.play_bar.play_button.text() == "Pause"
    qtbot.waitUntil(lambda: not parts.state.generation.playing, timeout=TIMEOUT_MS)
    assert parts.window.play_bar.play_button.text() == "Play"
    assert parts.state.run is not None
    assert parts.state.run.text == "I love machine learning."
    assert seen == [1, 2, 3, 4, 5, 6]


def test_that_the_fastest_speed_can_be_paused_and_goes_to_the_end(open_window: Open, qtbot: QtBot) -> None:
    parts = open_window()
    parts.state.generation.set_speed(SPEEDS[-1])
    play(qtbot, parts)
    qtbot.waitUntil(lambda: not parts.state.generation.playing, timeout=TIMEOUT_MS)
    settle(qtbot, parts)
    assert parts.state.run is not None
    assert parts.state.run.finished


def test_that_a_click_on_a_layer_opens_it_and_arrows_walk_on(open_window: Open, qtbot: QtBot) -> None:
    parts = open_window()
    state, strip = parts.state, parts.window.findChild(PipelineStrip)
    qtbot.mouseClick(parts.window.top_bar.step_button, Qt.MouseButton.LeftButton)
    settle(qtbot, parts)
    layer = next(i for i, stage in enumerate(strip.stages) if stage.holds(Moment("decoder", 1)))
    qtbot.mouseClick(strip, Qt.MouseButton.LeftButton, pos=strip.stage_rect(layer).center())
    settle(qtbot, parts)
    assert state.head is not None
    assert (state.head.kind, state.head.layer) == ("cross", 1)
    assert state.attention is not None
    assert state.attention.head == state.head
    assert line(parts) == "step 0 of 0–0   ·   inside: decoder layer 1 of 0–2, reading <pad>"
    qtbot.keyClick(strip, Qt.Key.Key_Right)
    assert state.generation.moment == Moment("decoder", 2)
    inside_on = next(a for a in parts.window.findChildren(QAction) if a.text() == "&Inside the step: on")
    assert inside_on.shortcut().toString() == "Alt+Right"
    for _ in range(2):
        inside_on.trigger()
    assert line(parts).startswith("step 0 of 0–0   ·   inside: softmax, ▁I at ")
    encoder = next(i for i, stage in enumerate(strip.stages) if stage.holds(Moment("encoder", 2)))
    qtbot.mouseClick(strip, Qt.MouseButton.LeftButton, pos=strip.stage_rect(encoder).center())
    assert line(parts).endswith("encoder layer 2 of 0–2, 7 × 256 – handed on, once for the whole run")
    assert (state.head.kind, state.head.layer) == ("encoder", 2)
    qtbot.keyClick(parts.window, Qt.Key.Key_Escape)
    assert state.generation.moment is None


def test_that_switching_the_model_while_playing_ends_the_playing(open_window: Open, qtbot: QtBot) -> None:
    parts = open_window()
    parts.state.generation.set_speed(Speed("quick", 100.0))
    play(qtbot, parts)
    for name in ("en-gpt", "en-mlm"):
        parts.state.model_requested.emit(name)
        assert not parts.state.generation.playing
        settle(qtbot, parts)
        assert parts.state.model is not None
        assert parts.state.model.name == name
        parts.state.set_source_text("I like [MASK] and [MASK] a lot." if name == "en-mlm" else "The old man")
        play(qtbot, parts)
        qtbot.waitUntil(lambda: not parts.state.generation.playing, timeout=TIMEOUT_MS)
        settle(qtbot, parts)
        assert parts.state.run is not None
        assert parts.state.run.finished
        play(qtbot, parts)  # from the start again, and the window is closed meanwhile


def test_that_a_stop_string_and_a_limit_end_the_run_and_are_named(open_window: Open, qtbot: QtBot) -> None:
    parts = open_window()

    def say(limit: int, strings: str) -> None:
        next(a for a in parts.window.findChildren(QAction) if a.text() == "&When a run ends …").trigger()
        dialog = parts.window.findChild(StopDialog)
        assert dialog is not None
        dialog.limit.setValue(limit)
        dialog.strings.selectAll()
        qtbot.keyClicks(dialog.strings, strings) if strings else dialog.strings.clear()
        dialog.accept()
        settle(qtbot, parts)

    def run() -> str | None:
        qtbot.mouseClick(parts.window.top_bar.run_button, Qt.MouseButton.LeftButton)
        settle(qtbot, parts)
        assert parts.state.run is not None
        return parts.state.run.stop_reason

    say(2, "")
    assert run() == "max_new_tokens (2) reached"
    assert "ended: max_new_tokens (2) reached" in parts.window.panels["generation"].facts
    say(0, "machine")
    assert run() == "stop string “machine” written"
    parts.state.reset_requested.emit()
    settle(qtbot, parts)
    assert run() == "stop string “machine” written"
    say(0, "")
    assert run() == "end-of-sequence token"


def test_that_playing_where_there_is_nothing_to_play_says_why(open_window: Open, qtbot: QtBot) -> None:
    parts = open_window(text="No mask here.")
    parts.state.model_requested.emit("en-mlm")
    settle(qtbot, parts)
    play(qtbot, parts)
    settle(qtbot, parts)
    assert not parts.state.generation.playing
    assert parts.state.notice is not None
    assert "no [MASK] to fill in" in parts.state.notice.text


def test_that_nothing_is_asked_after_the_window_has_closed(open_window: Open, qtbot: QtBot) -> None:
    parts = open_window()
    parts.window.panels["generation"].show_view("layers")
    parts.state.generation.set_speed(Speed("quick", 200.0))
    play(qtbot, parts)
    qtbot.waitUntil(
        lambda: parts.state.run is not None and len(parts.state.run.steps) > 1, timeout=TIMEOUT_MS
    )
    parts.window.close()
    asked = QSignalSpy(parts.state.step_requested)
    qtbot.wait(200)
    assert asked.count() == 0
    assert not parts.state.generation.playing
    assert parts.controller.idle
