"""Stages, penalties, draws, presets, and settings as they are typed, copied and pasted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from explorer.app.state import AppState
from explorer.core.own_settings import OwnSettings
from explorer.core.sampling import GREEDY, SamplingParams
from explorer.core.tokens import Token
from explorer.panels.softmax_panel import SoftmaxPanel
from explorer.theme import Theme
from tests.panels.softmax_hands import OPEN, current_step, reference, slider, type_into
from tests.support import VOCABULARY, fill


@pytest.fixture
def panel(qtbot: QtBot, state: AppState, theme: Theme) -> SoftmaxPanel:
    panel = SoftmaxPanel(state, theme)
    qtbot.addWidget(panel)
    panel.resize(1200, 420)
    panel.show()
    fill(state)
    state.set_sampling(OPEN)
    qtbot.waitExposed(panel)
    QApplication.processEvents()
    return panel


# -- penalties, stages, draws, copy and paste ---------------------------------------------------------


def test_that_more_shows_the_rare_settings_and_the_stages(
    qtbot: QtBot, panel: SoftmaxPanel, state: AppState
) -> None:
    assert not slider(panel, "typical_p").isVisible()
    qtbot.mouseClick(panel.controls.more, Qt.MouseButton.LeftButton)
    assert slider(panel, "typical_p").isVisible()
    for name, text, value in (
        ("typical_p", "0.9", 0.9),
        ("repetition_penalty", "1.3", 1.3),
        ("no_repeat_ngram_size", "2", 2),
    ):
        type_into(qtbot, panel, name, text)
        assert getattr(state.sampling, name) == value
    type_into(qtbot, panel, "repetition_penalty", "model's")
    assert state.sampling.repetition_penalty is None
    qtbot.mouseClick(panel.controls.more, Qt.MouseButton.LeftButton)
    assert not slider(panel, "typical_p").isVisible()


def test_that_each_stage_can_be_looked_at_in_order(
    qtbot: QtBot, panel: SoftmaxPanel, state: AppState
) -> None:
    qtbot.mouseClick(panel.controls.more, Qt.MouseButton.LeftButton)
    state.set_sampling(SamplingParams(2.0, top_k=20, top_p=0.8, min_p=0.1))
    seen = {}
    for name, button in panel.controls.stages.buttons.items():
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
        distribution = panel._distribution
        assert distribution is not None
        seen[name] = distribution.kept_count
        assert panel.facts.startswith(f"after stage {name} · ") == (name != "result")
    counts = list(seen.values())
    assert counts == sorted(counts, reverse=True)
    assert seen["logits"] == seen["temperature"] == VOCABULARY
    assert seen["top-k"] == 20
    assert seen["result"] == current_step(state).distribution(state.sampling).kept_count
    qtbot.mouseClick(panel.controls.stages.buttons["logits"], Qt.MouseButton.LeftButton)
    qtbot.mouseClick(panel.controls.more, Qt.MouseButton.LeftButton)
    assert panel.facts.startswith("whole vocabulary")


def test_that_draws_are_counted_by_the_seed_until_the_distribution_changes(
    panel: SoftmaxPanel, state: AppState
) -> None:
    state.set_sampling(SamplingParams(seed=3))
    actions = {action.text(): action for action in panel.controls.actions_row.draw.menu().actions()}
    actions["10,000"].trigger()
    counts = current_step(state).distribution(state.sampling).draw(10_000, seed=3)
    chosen = current_step(state).token.id
    assert panel.reading.text().endswith(f" · drawn {counts[chosen]:,} of 10,000")
    panel.grab()
    actions["1"].trigger()
    assert panel.reading.text().endswith("of 1")
    state.set_sampling(SamplingParams(2.0, seed=3))
    assert "drawn" not in panel.reading.text()
    actions["100"].trigger()
    actions["Clear"].trigger()
    assert "drawn" not in panel.reading.text()


def test_that_settings_are_copied_and_pasted_back(qtbot: QtBot, panel: SoftmaxPanel, state: AppState) -> None:
    state.set_sampling(SamplingParams(0.7, top_k=40, top_p=0.9, seed=5))
    actions_row = panel.controls.actions_row
    for action in actions_row.copy.menu().actions():
        state.set_sampling(SamplingParams(0.7, top_k=40, top_p=0.9, seed=5))
        action.trigger()
        state.set_sampling(SamplingParams(3.0, seed=5))
        qtbot.mouseClick(actions_row.paste, Qt.MouseButton.LeftButton)
        assert state.sampling == SamplingParams(0.7, top_k=40, top_p=0.9, seed=5)


def test_that_pasting_something_else_says_so_and_changes_nothing(
    qtbot: QtBot, panel: SoftmaxPanel, state: AppState
) -> None:
    QApplication.clipboard().setText("a recipe for soup")
    qtbot.mouseClick(panel.controls.actions_row.paste, Qt.MouseButton.LeftButton)
    assert state.notice is not None
    assert "no sampling settings" in state.notice.text
    assert state.sampling == OPEN


def test_that_replay_begins_anew_and_runs_to_the_end(
    qtbot: QtBot, panel: SoftmaxPanel, state: AppState
) -> None:
    asked: list[str] = []
    state.reset_requested.connect(lambda: asked.append("reset"))
    state.finish_requested.connect(lambda: asked.append("finish"))
    qtbot.mouseClick(panel.controls.actions_row.replay, Qt.MouseButton.LeftButton)
    assert asked == ["reset", "finish"]


def test_that_the_running_sum_is_what_top_p_adds_up(
    qtbot: QtBot, panel: SoftmaxPanel, state: AppState
) -> None:
    state.set_sampling(SamplingParams(1.6, top_k=30, top_p=0.7))
    p = np.sort(reference(current_step(state), 1.6))[::-1][:30]
    content = panel.bars.content
    count = len(content.cumulative)
    assert count == panel.bars.room
    np.testing.assert_allclose(content.cumulative, np.cumsum(p / p.sum())[:count], atol=1e-6)
    assert content.cumulative[content.cut_lines[-1].rank - 1] >= 0.7
    plain = panel.bars.grab().toImage()
    qtbot.mouseClick(panel.sum_line, Qt.MouseButton.LeftButton)
    assert panel.bars.grab().toImage() != plain


def test_that_the_models_own_settings_are_said_and_its_sampling_is_a_preset(
    qtbot: QtBot, panel: SoftmaxPanel, state: AppState
) -> None:
    own = panel.controls.presets["Model's"]
    assert not own.isVisible()
    assert state.model is not None
    settings = OwnSettings(("bans <pad>",), SamplingParams(0.6, 50, 0.9), ("num_beams 4",))
    run = state.run
    state.set_model(replace(state.model, own_settings=settings))
    state.set_run(run)
    assert own.isVisible()
    qtbot.mouseClick(own, Qt.MouseButton.LeftButton)
    assert state.sampling == SamplingParams(0.6, 50, 0.9)
    assert own.isChecked()
    qtbot.mouseClick(panel.controls.more, Qt.MouseButton.LeftButton)
    said = panel.controls.own.text()
    assert panel.controls.own.isVisible()
    for part in ("bans <pad>", "temperature 0.6 · top-k 50 · top-p 0.9", "num_beams 4"):
        assert part in said


def test_that_what_each_preset_is_for_stands_on_screen(
    qtbot: QtBot, panel: SoftmaxPanel, state: AppState
) -> None:
    for name in ("Greedy", "Focused", "Balanced", "Creative"):
        qtbot.mouseClick(panel.controls.presets[name], Qt.MouseButton.LeftButton)
        said = panel.controls.why.text()
        assert panel.controls.presets[name].toolTip().startswith(said)
        room = panel.controls.why.width()
        assert panel.controls.why.fontMetrics().horizontalAdvance(said) <= room
    state.set_sampling(SamplingParams(0.31))
    assert panel.controls.why.text() in ("Settings of your own.", said)


@pytest.mark.parametrize("text", ["abc", "1e400", "nan", "0.5.5", "--", "x" * 300])
def test_that_what_is_no_number_is_refused_in_one_sentence(
    qtbot: QtBot, panel: SoftmaxPanel, state: AppState, text: str
) -> None:
    type_into(qtbot, panel, "temperature", text)
    assert state.sampling == OPEN
    assert slider(panel, "temperature").entry.text() == "1.00"
    assert state.notice is not None
    assert state.notice.text.startswith("Temperature takes a number from 0 to 10 or “greedy”, not “")
    assert len(state.notice.text) < 110


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("temperature", "1e-9", 1e-9),
        ("temperature", "0,7", 0.7),
        ("temperature", "50", 10.0),
        ("temperature", "-3", 0.0),
        ("top_k", "999999999999", VOCABULARY),
        ("top_k", "0", 1),
        ("top_p", "1.5", 1.0),
        ("top_p", "0", 0.0),
        ("min_p", "0", None),
        ("min_p", "-2", None),
        ("min_p", "0.0005", 0.0005),
    ],
)
def test_that_an_exact_entry_is_taken_within_its_range(
    qtbot: QtBot, panel: SoftmaxPanel, state: AppState, name: str, text: str, value: float | None
) -> None:
    type_into(qtbot, panel, name, text)
    assert getattr(state.sampling, name) == value
    assert state.notice is None
    panel.grab()


def test_that_settings_without_a_slider_are_named_after_a_paste(
    qtbot: QtBot, panel: SoftmaxPanel, state: AppState
) -> None:
    QApplication.clipboard().setText("GenerationConfig(do_sample=True, top_k=7, num_beams=4)")
    qtbot.mouseClick(panel.controls.actions_row.paste, Qt.MouseButton.LeftButton)
    assert state.sampling == SamplingParams(top_k=7)
    assert state.notice is not None
    assert "but for num_beams" in state.notice.text


def test_that_replay_is_pointed_at_while_steps_were_drawn_under_other_settings(
    panel: SoftmaxPanel, state: AppState
) -> None:
    replay = panel.controls.actions_row.replay
    assert state.run is not None
    assert current_step(state).params == GREEDY
    assert replay.property("role") == "primary"
    assert "other settings" in replay.toolTip()
    state.set_sampling(GREEDY)
    assert not replay.property("role")
    assert "other settings" not in replay.toolTip()
    forced = tuple(replace(step, params=OPEN, forced=True) for step in state.run.steps)
    state.set_run(replace(state.run, steps=forced))
    assert not replay.property("role")


def test_that_a_vocabulary_of_one_leaves_the_panel_usable(
    qtbot: QtBot, panel: SoftmaxPanel, state: AppState
) -> None:
    assert state.model is not None
    assert state.run is not None
    one = np.zeros(1, dtype=np.float32)
    step = replace(
        state.run.steps[0],
        logits=one,
        scores=one,
        token=Token(0, "a", "a", None, False),
        previous_ids=np.zeros(1, int),
    )
    run = replace(state.run, steps=(step,))
    state.set_model(replace(state.model, vocabulary_size=1))
    state.set_run(run)
    panel.controls.more.click()
    for name, each in panel.controls.sliders.items():
        for position in (0, each.slider.maximum() // 2, each.slider.maximum()):
            each.slider.setValue(position)
            panel.grab()
            if state.sampling.no_repeat_ngram_size != 1:
                assert panel.bars.content.bars[0].after == 1.0, name
    type_into(qtbot, panel, "no_repeat_ngram_size", "1")
    assert "suppressed" in panel.bars.message
    type_into(qtbot, panel, "no_repeat_ngram_size", "0")
    assert panel.facts.startswith("whole vocabulary 1 · 1 token stays · mass cut 0 % · entropy 0.00 bits")
    panel._on_draw_requested(100)
    assert panel.reading.text().endswith("drawn 100 of 100")
