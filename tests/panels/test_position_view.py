from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QSignalSpy
from PySide6.QtWidgets import QPushButton
from pytestqt.qtbot import QtBot

from explorer.app.state import AppState
from explorer.core.positions import PositionEncoding, cosine_matrix
from explorer.core.selection import Selection, TokenRef
from explorer.panels.embedding.position_map import PositionMap
from explorer.panels.embedding.position_view import PositionView
from explorer.panels.embedding_panel import EmbeddingPanel
from explorer.theme import Theme
from tests.support import fill, make_cloud, make_model

LEFT = Qt.MouseButton.LeftButton
VECTORS = np.random.default_rng(5).normal(size=(128, 16)).astype(np.float32)
NOTE = "Learned vectors."
LEARNED = PositionEncoding(
    "learned", "encoder", "encoder", "model.pos", NOTE, vectors=VECTORS, cosines=cosine_matrix(VECTORS)
)
DECODER = dataclasses.replace(LEARNED, name="decoder", stack="decoder")
DISTANCES = np.arange(64)[None, :] - np.arange(64)[:, None]
BIAS = PositionEncoding(
    "relative bias",
    "decoder",
    "decoder",
    "decoder.bias",
    "A bias.",
    bias=np.stack([DISTANCES * 0.01 * (head + 1) for head in range(4)]).astype(np.float32),
    causal=True,
)
ROTARY = PositionEncoding(
    "rotary", "decoder", "decoder", "rotary", "Angles.", frequencies=np.array([1.0, 0.1, 0.01])
)
NONE = PositionEncoding("none", "", "decoder", "", "This model has none, because of its mask.")


@pytest.fixture
def panel(qtbot: QtBot, state: AppState, theme: Theme) -> EmbeddingPanel:
    fill(state)
    panel = EmbeddingPanel(state, theme)
    qtbot.addWidget(panel)
    panel.resize(700, 620)
    panel.show()
    qtbot.waitExposed(panel)
    return panel


@pytest.fixture
def view(qtbot: QtBot, panel: EmbeddingPanel) -> PositionView:
    open_tool(qtbot, panel, "positions")
    return panel.tools.positions


def open_tool(qtbot: QtBot, panel: EmbeddingPanel, tool: str) -> None:
    button = panel.findChild(QPushButton, f"embedding_tool_{tool}")
    assert button is not None
    qtbot.mouseClick(button, LEFT)


def cell(shown: PositionMap, row: int, column: int) -> QPoint:
    return shown.cell_center(row, column).toPoint()


def test_that_positions_are_asked_for_when_looked_at_and_again_for_another_model(
    qtbot: QtBot, panel: EmbeddingPanel, state: AppState
) -> None:
    asked = QSignalSpy(state.vectors.positions_requested)
    assert asked.count() == 0
    open_tool(qtbot, panel, "positions")
    assert asked.count() == 1
    state.vectors.set_positions((LEARNED,))
    open_tool(qtbot, panel, "angle")
    open_tool(qtbot, panel, "positions")
    assert asked.count() == 1
    state.set_model(make_model())
    assert state.vectors.positions is None
    state.set_cloud(make_cloud())
    assert asked.count() == 2
    open_tool(qtbot, panel, "angle")
    state.set_model(make_model())
    state.set_cloud(make_cloud())
    assert asked.count() == 2


def test_that_positions_have_a_page_of_their_own(qtbot: QtBot, panel: EmbeddingPanel) -> None:
    open_tool(qtbot, panel, "positions")
    assert not panel.scatter.isVisible()
    open_tool(qtbot, panel, "nearest")
    assert panel.scatter.isVisible()


def test_that_a_pointer_reads_exact_values(qtbot: QtBot, view: PositionView, state: AppState) -> None:
    state.vectors.set_positions((LEARNED, DECODER))
    assert view.kind.text() == "learned"
    assert view.note.text() == NOTE
    qtbot.mouseMove(view.left, cell(view.left, 3, 7))
    assert view.reading.text() == f"position 3 apprentissage, dimension 7: {VECTORS[3, 7]:+.6f}"
    assert state.hover == TokenRef("source", 3)
    qtbot.mouseMove(view.right, cell(view.right, 10, 20))
    a, b = VECTORS[10].astype(np.float64), VECTORS[20].astype(np.float64)
    expected = a @ b / np.sqrt((a @ a) * (b @ b))
    assert view.reading.text() == f"positions 10 and 20: cosine {expected:+.6f}"
    assert state.hover is None


def test_that_each_stack_marks_its_own_tokens(qtbot: QtBot, view: PositionView, state: AppState) -> None:
    state.vectors.set_positions((LEARNED, DECODER))
    qtbot.mouseClick(view.left, LEFT, pos=cell(view.left, 4, 2))
    assert state.selection == Selection(TokenRef("source", 4))
    qtbot.mouseClick(view.left, LEFT, Qt.KeyboardModifier.ControlModifier, pos=cell(view.left, 3, 2))
    assert state.selection == Selection(TokenRef("source", 4), TokenRef("source", 3))
    qtbot.mouseClick(view.stacks.button("decoder"), LEFT)
    qtbot.mouseClick(view.right, LEFT, pos=cell(view.right, 0, 2))
    assert state.selection == Selection(TokenRef("start", 0), TokenRef("generated", 1))


def test_that_all_positions_can_be_seen(qtbot: QtBot, view: PositionView, state: AppState) -> None:
    state.vectors.set_positions((LEARNED,))
    assert view.left.content is not None
    assert view.left.content.values.shape == (64, 16)
    qtbot.mouseClick(view.reach.button("all"), LEFT)
    assert view.left.content.values.shape == (128, 16)
    assert not view.heads.isVisible()


def test_that_a_click_on_a_head_shows_its_bias(qtbot: QtBot, view: PositionView, state: AppState) -> None:
    state.vectors.set_positions((BIAS,))
    assert view.heads.isVisible()
    assert not view.reach.isVisible()
    qtbot.mouseMove(view.left, cell(view.left, 9, 6))
    assert view.reading.text() == "head 0, query 9, key 6: bias -0.03000"
    qtbot.mouseMove(view.left, cell(view.left, 4, 9))
    assert view.reading.text().endswith("masked")
    qtbot.mouseMove(view.right, cell(view.right, 2, 43))
    assert view.reading.text() == "head 2, key 20 before the query: bias -0.60000"
    qtbot.mouseClick(view.right, LEFT, pos=cell(view.right, 2, 43))
    assert view.heads.currentText() == "head 2"
    qtbot.mouseMove(view.left, cell(view.left, 9, 6))
    assert view.reading.text() == "head 2, query 9, key 6: bias -0.09000"
    qtbot.keyClick(view.heads, Qt.Key.Key_Down)
    assert view.left.content is not None
    assert view.left.content.title.startswith("head 3")


def test_that_rotary_angles_name_their_wavelength(qtbot: QtBot, view: PositionView, state: AppState) -> None:
    state.vectors.set_positions((ROTARY,))
    qtbot.mouseMove(view.left, cell(view.left, 40, 0))
    assert view.reading.text() == (
        "position 40, pair 0: 131.83° (2,291.83° in all), wavelength 6.3 positions"
    )
    qtbot.mouseMove(view.right, cell(view.right, 40, 30))
    expected = np.mean([np.cos(10.0), np.cos(1.0), np.cos(0.1)])
    assert view.reading.text() == f"positions 40 and 30: cosine {expected:+.6f}"


def test_that_a_model_without_positions_says_so_and_why(view: PositionView, state: AppState) -> None:
    state.vectors.set_positions((NONE,))
    assert view.kind.text() == "no position encoding"
    assert view.note.text() == NONE.note
    assert not view.left.isVisible()
    assert not view.right.isVisible()


@pytest.mark.parametrize("encoding", [LEARNED, BIAS, ROTARY, NONE])
def test_that_every_kind_fits_into_a_dock_in_both_schemes(
    panel: EmbeddingPanel, view: PositionView, state: AppState, theme: Theme, encoding: PositionEncoding
) -> None:
    state.vectors.set_positions((encoding,))
    panel.resize(380, 400)
    theme.set_scheme("dark")
    theme.set_scale(1.35)
    state.set_hover(TokenRef("source", 1))
    assert not panel.grab().isNull()
    theme.set_scale(1.0)
    assert panel.minimumSizeHint().width() <= 380


def test_that_colours_are_two_sided(view: PositionView, state: AppState) -> None:
    signs = np.where(np.arange(16) < 8, -1.0, 1.0).astype(np.float32)
    vectors = np.broadcast_to(signs, (64, 16)).copy()
    state.vectors.set_positions((dataclasses.replace(LEARNED, vectors=vectors, cosines=np.eye(64)),))
    picture = view.left.grab().toImage()
    below = picture.pixelColor(cell(view.left, 30, 3))
    above = picture.pixelColor(cell(view.left, 30, 12))
    assert below.red() > below.blue()
    assert above.blue() > above.red()


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_that_a_damaged_table_is_shown_as_it_is(
    qtbot: QtBot, view: PositionView, state: AppState, value: float
) -> None:
    vectors = VECTORS.copy()
    vectors[2] = value
    damaged = dataclasses.replace(LEARNED, vectors=vectors, cosines=cosine_matrix(vectors))
    state.vectors.set_positions((damaged,))
    assert not view.grab().isNull()
    qtbot.mouseMove(view.right, cell(view.right, 2, 20))
    assert view.reading.text().endswith("cosine no direction")
