from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from explorer.app.state import AppState
from explorer.core.branch_lanes import run_at
from explorer.core.moments import Moment
from explorer.core.selection import TokenRef
from explorer.panels.generation.inside_view import part_rows
from explorer.panels.generation.lens_view import first_layer
from explorer.panels.generation_panel import GenerationPanel
from explorer.theme import Theme
from tests.support import fill, make_branched_run, make_inside


@pytest.fixture
def panel(qtbot: QtBot, state: AppState, theme: Theme) -> GenerationPanel:
    panel = GenerationPanel(state, theme)
    qtbot.addWidget(panel)
    panel.resize(900, 260)
    panel.show()
    return panel


def open_view(qtbot: QtBot, panel: GenerationPanel, name: str) -> None:
    qtbot.mouseClick(panel.chooser.button(name), Qt.MouseButton.LeftButton)


def test_that_the_inside_is_read_only_while_a_view_of_it_is_in_sight(
    qtbot: QtBot, panel: GenerationPanel, state: AppState
) -> None:
    fill(state)
    for name, watched in (("tree", False), ("layers", True), ("inside", True), ("steps", False)):
        open_view(qtbot, panel, name)
        assert state.generation.watched is watched
    open_view(qtbot, panel, "layers")
    panel.hide()
    assert not state.generation.watched


def test_that_the_views_say_what_is_missing(qtbot: QtBot, panel: GenerationPanel, state: AppState) -> None:
    run = fill(state, 0)
    open_view(qtbot, panel, "layers")

    def hint() -> str:
        label = panel.lens._hint.findChild(QLabel)
        assert label is not None
        return label.text()

    assert "Press Step" in hint()
    run = fill(state)
    assert "Reading" in hint()
    state.generation.set_inside_problem("This architecture cannot be looked into.")
    assert hint() == "This architecture cannot be looked into."
    state.generation.set_inside_problem("")
    state.generation.set_inside(make_inside(run, lens=False))
    assert "no language-model head" in hint()
    state.generation.set_inside(make_inside(run))
    assert hint() == ""


def test_that_bars_state_the_numbers_of_the_viewed_step(
    qtbot: QtBot, panel: GenerationPanel, state: AppState
) -> None:
    run = fill(state)
    reading = make_inside(run)
    state.generation.set_inside(reading)
    open_view(qtbot, panel, "inside")
    state.set_viewed_step(1)
    rows = panel.inside.canvas.rows
    assert rows == part_rows(reading, 1)
    assert [row.kind for row in rows[:4]] == ["input", "self-attention", "cross-attention", "feed-forward"]
    assert rows[3].added == pytest.approx(float(reading.sublayers[2].added_norms[1]))
    assert rows[3].stream == pytest.approx(float(reading.sublayers[2].stream_norms[1]))
    assert reading.sublayers[2].neurons is not None
    assert rows[3].neurons[0][0] == reading.sublayers[2].neurons[1, 0]
    assert f"added a vector of length {rows[3].added:.6g}" in panel.inside.canvas.describe(
        panel.inside.canvas.row_rect(3).center()
    )
    assert "chosen from" in panel.inside.line.text()
    panel.grab()


def test_that_the_moment_is_highlighted_and_a_click_stands_at_a_layer(
    qtbot: QtBot, panel: GenerationPanel, state: AppState
) -> None:
    run = fill(state)
    state.generation.set_inside(make_inside(run))
    open_view(qtbot, panel, "inside")
    canvas = panel.inside.canvas
    plain = canvas.viewport().grab().toImage()
    qtbot.mouseClick(canvas.viewport(), Qt.MouseButton.LeftButton, pos=canvas.row_rect(2).center())
    assert state.generation.moment == Moment("decoder", 0)
    assert canvas.viewport().grab().toImage() != plain
    qtbot.keyClick(canvas, Qt.Key.Key_Down)
    assert state.generation.moment == Moment("decoder", 1)
    state.generation.set_moment(Moment("decoder", 2))
    assert canvas.row_rect(9).bottom() <= canvas.viewport().height()  # scrolled to
    qtbot.mouseClick(canvas.viewport(), Qt.MouseButton.LeftButton, pos=canvas.row_rect(9).center())
    assert state.generation.moment is None


def test_that_the_lens_is_a_table_of_layers_and_steps(
    qtbot: QtBot, panel: GenerationPanel, state: AppState
) -> None:
    run = fill(state)
    reading = make_inside(run)
    state.generation.set_inside(reading)
    open_view(qtbot, panel, "layers")
    assert "nostalgebraist" in panel.facts
    assert "nostalgebraist" in panel.lens.line.text()
    canvas = panel.lens.canvas
    cell = canvas.cell_rect(1, 2).center()
    qtbot.mouseMove(canvas.viewport(), cell - QPoint(2, 2))
    qtbot.mouseMove(canvas.viewport(), cell)
    lens = reading.lens
    assert lens is not None
    assert f"rank {int(lens.chosen_ranks[2, 1])}, " in panel.lens.line.text()
    assert state.hover == TokenRef("vocabulary", int(lens.top_ids[2, 1, 0]))
    told = canvas.describe(cell).splitlines()
    assert told[0] == "layer 0, step 2"
    assert len(told) == 8
    assert told[1].split()[0] == f"{lens.top_probabilities[2, 1, 0]:.6f}"
    qtbot.mouseClick(canvas.viewport(), Qt.MouseButton.LeftButton, pos=cell)
    assert (state.viewed_step, state.selection.token) == (2, TokenRef("generated", 2))
    qtbot.keyClick(canvas, Qt.Key.Key_Left)
    assert state.viewed_step == 1
    panel.grab()


def test_that_the_lens_marks_the_decoders_layer_and_never_the_encoders(
    qtbot: QtBot, panel: GenerationPanel, state: AppState
) -> None:
    run = fill(state)
    state.generation.set_inside(make_inside(run))
    open_view(qtbot, panel, "layers")
    plain = panel.lens.canvas.viewport().grab().toImage()
    state.generation.set_moment(Moment("encoder", 1))
    assert panel.lens.canvas.viewport().grab().toImage() == plain
    state.generation.set_moment(Moment("decoder", 1))
    assert panel.lens.canvas.viewport().grab().toImage() != plain


def test_that_the_layer_from_which_the_token_stays_on_top_is_found() -> None:
    lens = make_inside(make_branched_run()).lens
    assert lens is not None
    ranks = np.array([[3, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 2], [0, 0, 0, 0]])
    lens = dataclasses.replace(lens, chosen_ranks=ranks)
    assert [first_layer(lens, step) for step in range(4)] == [1, 3, None, 0]


def test_that_what_was_read_of_another_branch_is_never_shown_as_this_ones(
    qtbot: QtBot, panel: GenerationPanel, state: AppState
) -> None:
    fill(state)
    run = make_branched_run(run_id=2)
    state.set_run(run)
    state.generation.set_inside(make_inside(run))
    open_view(qtbot, panel, "layers")
    assert panel.lens.known_steps == 6
    state.set_run(run_at(run, 10), viewed=3)
    assert panel.lens.known_steps == 2  # the stem that both branches share
    assert panel.lens.canvas.cell_at(panel.lens.canvas.cell_rect(0, 2).center()) == (0, -1)
    open_view(qtbot, panel, "inside")
    assert panel.inside.canvas._dimmed
    state.set_viewed_step(1)
    assert not panel.inside.canvas._dimmed
