from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from pytestqt.qtbot import QtBot

from explorer.app.state import AppState
from explorer.core.selection import Selection, TokenRef
from explorer.panels.generation.step_timeline import StepTimeline
from explorer.panels.generation_panel import GenerationPanel
from explorer.theme import Theme
from tests.support import fill, make_run


@pytest.fixture
def panel(qtbot: QtBot, state: AppState, theme: Theme) -> GenerationPanel:
    panel = GenerationPanel(state, theme)
    qtbot.addWidget(panel)
    panel.resize(620, 320)
    panel.show()
    return panel


def timeline(panel: GenerationPanel) -> StepTimeline:
    found = panel.findChild(StepTimeline)
    assert found is not None
    return found


def middle(panel: GenerationPanel, index: int) -> QPoint:
    panel.steps.column.activate()  # the timeline appears with the first step; a hand would be slower than Qt
    return timeline(panel).column_rect(index).center().toPoint()


def test_that_columns_hold_each_steps_probability_rank_and_entropy(
    panel: GenerationPanel, state: AppState
) -> None:
    run = fill(state)
    for i, step in enumerate(run.steps):
        e = np.exp(step.scores.astype(np.float64) - step.scores.max())
        p = e / e.sum()
        assert timeline(panel)._probabilities[i] == pytest.approx(p[step.token.id], abs=1e-6)
        assert timeline(panel)._entropies[i] == pytest.approx(-(p * np.log2(p)).sum(), abs=1e-4)
        assert timeline(panel)._ranks[i] == (p > p[step.token.id]).sum()
    assert timeline(panel).most_bits == int(np.ceil(timeline(panel)._entropies.max()))


def test_that_a_click_views_a_step_again(qtbot: QtBot, panel: GenerationPanel, state: AppState) -> None:
    fill(state)
    qtbot.mouseClick(timeline(panel), Qt.MouseButton.LeftButton, pos=middle(panel, 1))
    assert state.viewed_step == 1
    assert state.selection == Selection(TokenRef("generated", 1))
    qtbot.mouseMove(timeline(panel), middle(panel, 2) - QPoint(3, 3))
    qtbot.mouseMove(timeline(panel), middle(panel, 2))
    assert state.hover == TokenRef("generated", 2)
    qtbot.mouseClick(timeline(panel), Qt.MouseButton.LeftButton, pos=QPoint(2, 5))
    assert state.viewed_step == 1


def test_that_a_drag_leafs_through_the_steps(qtbot: QtBot, panel: GenerationPanel, state: AppState) -> None:
    fill(state)
    seen = []
    state.viewed_step_changed.connect(lambda: seen.append(state.viewed_step))
    qtbot.mousePress(timeline(panel), Qt.MouseButton.LeftButton, pos=middle(panel, 0))
    for i in (1, 2):
        qtbot.mouseMove(timeline(panel), middle(panel, i))
    qtbot.mouseRelease(timeline(panel), Qt.MouseButton.LeftButton, pos=middle(panel, 2))
    assert seen == [0, 1, 2]


def test_that_the_timeline_gives_way_to_the_cards_in_a_low_panel(
    panel: GenerationPanel, state: AppState
) -> None:
    fill(state, 0)
    assert not timeline(panel).isVisible()
    state.set_run(make_run(4))
    assert timeline(panel).isVisible()
    panel.resize(620, 200)
    assert not timeline(panel).isVisible()
    panel.resize(620, 320)
    assert timeline(panel).isVisible()


def test_that_every_step_of_a_thousand_has_its_column(panel: GenerationPanel, state: AppState) -> None:
    run = fill(state)
    steps = tuple(dataclasses.replace(run.steps[i % 4], index=i) for i in range(1000))
    state.set_run(dataclasses.replace(run, steps=steps))
    for index in (0, 499, 999):
        found = timeline(panel).step_at(middle(panel, index))
        assert found is not None
        assert abs(found - index) <= 1 / timeline(panel)._pitch()
    panel.grab()


def test_that_the_tooltip_names_the_step_or_explains_the_timeline(
    panel: GenerationPanel, state: AppState
) -> None:
    fill(state)
    assert timeline(panel).describe(middle(panel, 3)).startswith("step 3: ▁learning\nprobability 0.")
    assert "greedy · rank 0 · entropy" in timeline(panel).describe(middle(panel, 3))
    assert "One column per step" in timeline(panel).describe(QPoint(2, 5))
