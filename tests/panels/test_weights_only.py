"""What the attention panel says of models that keep queries and keys to themselves, or have no maps."""

from __future__ import annotations

import dataclasses

import pytest
from PySide6.QtCore import Qt

from explorer.app.state import AppState
from explorer.core.selection import Selection, TokenRef
from explorer.panels.attention.weight_view import EMPTY, UNKNOWN
from explorer.panels.attention_panel import AttentionPanel
from explorer.theme import Theme
from tests.support import fill, make_attention, make_model, make_overview, make_run, make_source

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def panel(qtbot, state: AppState, theme: Theme) -> AttentionPanel:
    fill(state)
    panel = AttentionPanel(state, theme)
    qtbot.addWidget(panel)
    panel.resize(900, 700)
    panel.show()
    qtbot.waitExposed(panel)
    return panel


def switch(state: AppState, **changes: object) -> None:
    state.set_model(dataclasses.replace(make_model(), **changes))
    state.set_source(make_source())
    run = make_run(4, run_id=2)
    state.set_run(run)
    if state.head is not None:
        state.set_attention(make_attention(run, state.head))
        state.set_overview(make_overview(run, state.head))


def test_that_eager_weights_are_named_and_a_cell_of_them_is_said_to_be_closed(qtbot, state, panel):
    assert "eager" not in panel.caption.text()
    switch(state, weights_only=True)
    assert panel.caption.text().endswith("eager attention: the model's own weights")
    state.set_selection(Selection(TokenRef("generated", 1), TokenRef("source", 2)))
    qtbot.mouseClick(panel.controls.views.button("inside"), LEFT)
    assert panel.weight_view._hint._label.text() == UNKNOWN
    switch(state)
    assert panel.weight_view._hint._label.text() == EMPTY
    assert "eager" not in panel.caption.text()


def test_that_only_kinds_with_maps_are_offered(state, panel):
    switch(state, mapless=("encoder",))
    assert panel.controls.kinds.names == ("decoder", "cross")
    assert state.head.kind == "cross"


def test_that_a_model_without_maps_says_so_instead_of_an_empty_panel(state, panel):
    switch(state, mapless=("encoder", "decoder", "cross"), architecture="FNetForMaskedLM")
    assert state.head is None
    assert not panel.body.isVisible()
    said = "FNetForMaskedLM has no weights between every two tokens to draw a map of."
    assert panel._hint._label.text() == said
    switch(state)
    assert panel.body.isVisible()
