from __future__ import annotations

import dataclasses

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from explorer.app.state import AppState
from explorer.core.branch_lanes import run_at
from explorer.core.run_comparison import KeptRun
from explorer.panels.generation_panel import GenerationPanel
from explorer.theme import Theme
from tests.support import fill, make_branched_run, make_model, make_run


@pytest.fixture
def panel(qtbot: QtBot, state: AppState, theme: Theme) -> GenerationPanel:
    panel = GenerationPanel(state, theme)
    qtbot.addWidget(panel)
    panel.resize(900, 260)
    panel.show()
    qtbot.mouseClick(panel.chooser.button("compare"), Qt.MouseButton.LeftButton)
    return panel


def test_that_the_view_says_what_to_do_before_there_are_two_runs(
    qtbot: QtBot, panel: GenerationPanel, state: AppState
) -> None:
    fill(state, 0)
    assert not panel.compare.keep_button.isEnabled()
    fill(state)
    assert panel.compare.keep_button.isEnabled()
    assert not panel.compare.rows.isVisible()
    qtbot.mouseClick(panel.compare.keep_button, Qt.MouseButton.LeftButton)
    assert panel.compare.rows.isVisible()
    qtbot.mouseClick(panel.compare.drop_button, Qt.MouseButton.LeftButton)
    assert not panel.compare.rows.isVisible()


def test_that_a_step_after_the_same_text_is_compared_even_where_a_token_was_put_in(
    panel: GenerationPanel, state: AppState
) -> None:
    fill(state)
    run = make_run(5, run_id=3)
    # The kept run left out what the other wrote at step 1, so that nothing stands above it.
    kept = dataclasses.replace(run, steps=(run.steps[0], *run.steps[2:]))
    state.generation.set_kept(KeptRun(kept, make_model(), None))
    state.set_run(run, viewed=1)
    assert panel.compare.alignment is not None
    assert panel.compare.alignment.pairs[1] == (None, 1)
    assert panel.compare.line.text().endswith("step 1, same text before it")
    assert panel.compare.bars.bars
    state.set_viewed_step(2)
    assert panel.compare.line.text().endswith("step 2 (kept: 1), after different text")


def test_that_keys_and_clicks_view_the_steps_of_the_run_on_show(
    qtbot: QtBot, panel: GenerationPanel, state: AppState
) -> None:
    fill(state)
    run = make_branched_run(run_id=2)
    state.set_run(run)
    panel.compare.keep_branch(9, "branch B")
    rows = panel.compare.rows
    rows.horizontalScrollBar().setValue(0)
    qtbot.mouseClick(rows.viewport(), Qt.MouseButton.LeftButton, pos=rows.cell_rect(0, 2).center())
    assert state.viewed_step == 2
    qtbot.keyClick(rows, Qt.Key.Key_Left)
    assert state.viewed_step == 1
    told = rows.describe(rows.cell_rect(0, 2).center()).splitlines()
    assert told[0].startswith("kept, step 2: ▁deep   ID 900")
    assert told[1].startswith("on show, step 2: ▁machine")
    # The kept branch stays what it was when the run goes elsewhere.
    state.set_run(run_at(run, 10))
    kept = state.generation.kept
    assert kept is not None
    assert kept.run.token_ids == run_at(run, 9).token_ids
    panel.grab()
