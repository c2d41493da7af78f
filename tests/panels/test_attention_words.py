"""The attention panel with subwords merged into words."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QAction

from explorer.app.state import AppState
from explorer.core.selection import HeadRef, Selection, TokenRef
from explorer.panels.attention_panel import AttentionPanel
from explorer.theme import Theme
from tests.support import fill

LEFT = Qt.MouseButton.LeftButton
MERGE = "attention_merge_subwords_into_words"


@pytest.fixture
def panel(qtbot, state: AppState, theme: Theme) -> AttentionPanel:
    fill(state)
    panel = AttentionPanel(state, theme)
    qtbot.addWidget(panel)
    panel.resize(900, 700)
    panel.show()
    qtbot.waitExposed(panel)
    panel.findChild(QAction, MERGE).trigger()
    return panel


def test_that_the_matrix_shows_words_and_says_how_they_were_merged(state, panel):
    content = panel.heat_map.content
    labels = [token.label for token in content.columns]
    assert labels == ["J'aime", "l'apprentissage", "automatique.", "</s>"]
    assert "subwords merged into words: sum over keys, mean over queries" in panel.caption.text()
    assert panel.facts == "cross · layer 2 · head 5 · 4 × 4"
    np.testing.assert_allclose(content.row_sums, 1.0, atol=1e-5)
    np.testing.assert_allclose(content.weights[:, 0], state.attention.weights[:, :2].sum(1), atol=1e-6)


def test_that_rows_of_a_word_are_averaged(state, panel):
    state.set_head(HeadRef("encoder", 0, 0))
    fill(state, head=HeadRef("encoder", 0, 0))
    weights = state.attention.weights
    expected = weights[:2, 2:4].sum(axis=1).mean()
    assert panel.heat_map.content.weights[0, 1] == pytest.approx(expected, abs=1e-6)


def test_that_a_token_inside_a_word_lights_up_the_word(state, panel):
    state.set_selection(Selection(TokenRef("generated", 1), TokenRef("source", 3)))
    assert panel.heat_map.emphasis.cells == {(1, 1)}
    assert panel.readout.text.startswith("love → l'apprentissage")


def test_that_a_click_on_a_word_selects_its_first_tokens(qtbot, state, panel):
    where = panel.heat_map.geometry_now().cell_rect(2, 2).center().toPoint()
    qtbot.mouseClick(panel.heat_map, LEFT, pos=where)
    assert state.selection.refs == (TokenRef("generated", 2), TokenRef("source", 4))


def test_that_the_lines_join_words_too(qtbot, panel):
    qtbot.mouseClick(panel.controls.views.button("lines"), LEFT)
    assert len(panel.line_map.content.columns) == 4
    panel.findChild(QAction, MERGE).trigger()
    assert len(panel.line_map.content.columns) == 7


def test_that_hidden_specials_leave_the_other_words(state, panel):
    panel.findChild(QAction, "attention_hide_special_tokens").trigger()
    content = panel.heat_map.content
    assert [token.label for token in content.columns] == ["J'aime", "l'apprentissage", "automatique."]
    np.testing.assert_allclose(content.hidden_mass, state.attention.weights[:, 6], atol=1e-6)
