"""The attention panel on what many heads come to: means and rollout."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QAction

from explorer.app.state import AppState
from explorer.core.records import AttentionMap
from explorer.core.selection import AttentionSummary, HeadRef
from explorer.panels.attention_panel import AttentionPanel
from explorer.theme import Theme
from tests.support import fill, make_attention

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def make_panel(qtbot, state: AppState, theme: Theme) -> Callable[..., AttentionPanel]:
    # Held until the test has ended: a panel that nobody holds may be collected while it paints.
    made: list[AttentionPanel] = []

    def make(width: int = 700, height: int = 620) -> AttentionPanel:
        panel = AttentionPanel(state, theme)
        made.append(panel)
        qtbot.addWidget(panel)
        panel.resize(width, height)
        panel.show()
        qtbot.waitExposed(panel)
        return panel

    return make


def choose(panel: AttentionPanel, name: str) -> None:
    action = panel.findChild(QAction, f"attention_{name}")
    assert isinstance(action, QAction)
    assert action.isEnabled()
    action.trigger()


def summary_of(state: AppState, summary: AttentionSummary) -> AttentionMap:
    """What the controller would answer to the choice that the state holds."""
    assert state.summary == summary
    made = make_attention(state.run, state.head)
    return dataclasses.replace(made, summary=summary, heads=8)


def test_that_the_mean_is_chosen_in_the_menu_and_named_by_the_facts(state, make_panel):
    fill(state)
    panel = make_panel()
    choose(panel, "draw_mean")
    assert panel.facts == "cross · layer 2 · head 5 · 4 × 7"
    state.set_attention(summary_of(state, "mean"))
    assert panel.facts == "cross · mean of 8 heads · layer 2 · 4 × 7"


def test_that_rollout_names_its_layers_and_its_source(state, make_panel):
    fill(state, head=HeadRef("encoder", 2, 5))
    panel = make_panel(900, 700)
    choose(panel, "draw_rollout")
    state.set_attention(summary_of(state, "rollout"))
    assert panel.facts == "encoder · rollout · layers 0–2 · 7 × 7"
    assert "0.5 × mean of heads + 0.5 × itself (Abnar & Zuidema, 2020)" in panel.caption.text()


def test_that_cross_attention_offers_no_rollout_and_going_there_ends_it(qtbot, state, make_panel):
    fill(state, head=HeadRef("encoder", 2, 5))
    panel = make_panel()
    choose(panel, "draw_rollout")
    qtbot.mouseClick(panel.controls.kinds.button("cross"), LEFT)
    assert state.summary == "head"
    assert not panel.findChild(QAction, "attention_draw_rollout").isEnabled()
    assert panel.findChild(QAction, "attention_draw_head").isChecked()


def test_that_no_head_is_framed_while_none_is_drawn_alone(qtbot, state, make_panel):
    fill(state)
    panel = make_panel()
    assert panel.overview._opened == (2, 5)
    choose(panel, "draw_mean")
    assert panel.overview._opened is None
    qtbot.mouseClick(panel.overview, LEFT, pos=panel.overview.cell_rect(1, 3).center().toPoint())
    assert (state.summary, state.head) == ("head", HeadRef("cross", 1, 3))
    assert panel.overview._opened == (1, 3)


def test_that_the_layer_moves_the_summary_and_the_head_ends_it(qtbot, state, make_panel):
    fill(state)
    panel = make_panel()
    choose(panel, "draw_mean")
    panel.controls.layer_box.setFocus()
    qtbot.keyClick(panel.controls.layer_box, Qt.Key.Key_Down)
    assert (state.summary, state.head) == ("mean", HeadRef("cross", 1, 5))
    qtbot.keyClick(panel.controls.head_box, Qt.Key.Key_Up)
    assert (state.summary, state.head) == ("head", HeadRef("cross", 1, 6))


def test_that_a_file_of_a_summary_says_what_it_is(state, make_panel):
    fill(state)
    panel = make_panel()
    choose(panel, "draw_mean")
    state.set_attention(summary_of(state, "mean"))
    written = np.load(io.BytesIO(panel.export("npz")))
    assert (str(written["title"]), int(written["head"])) == ("cross · mean of 8 heads · layer 2", -1)
    assert panel._drawn.file_name == "attention-cross-layer2-mean"
