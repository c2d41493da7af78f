"""Heads side by side in the attention panel."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QAction, QWheelEvent
from PySide6.QtWidgets import QApplication

from explorer.app.state import AppState
from explorer.colormaps import heat_table
from explorer.core.records import AttentionMap
from explorer.core.selection import HeadRef, Selection, TokenRef
from explorer.core.tokens import Token, TokenizedText
from explorer.panels.attention.map_content import MapEmphasis, MapHit
from explorer.panels.attention_panel import AttentionPanel
from explorer.theme import Theme
from tests.support import fill, make_attention, make_overview, make_run

LEFT = Qt.MouseButton.LeftButton
CONTROL = Qt.KeyboardModifier.ControlModifier


@pytest.fixture
def panel(qtbot, state: AppState, theme: Theme) -> AttentionPanel:
    fill(state)

    def answer() -> None:
        """What the worker would: the whole maps, here those of the overview."""
        overview = state.overview
        if overview.weights.shape[2:] != tuple(map(len, state.run.attention_axes(overview.kind))):
            return
        axes = state.run.attention_axes(overview.kind)
        maps = [
            AttentionMap(HeadRef(overview.kind, *place), overview.weights[place], *axes)
            for place in state.marked.side_by_side
        ]
        state.marked.set_maps(state.run, tuple(maps))

    state.marked.places_changed.connect(answer)
    state.overview_changed.connect(answer)
    panel = AttentionPanel(state, theme)
    qtbot.addWidget(panel)
    panel.resize(900, 700)
    panel.show()
    qtbot.waitExposed(panel)
    return panel


def pick(qtbot, panel: AttentionPanel, *places: tuple[int, int]) -> None:
    for place in places:
        where = panel.overview.cell_rect(*place).center().toPoint()
        qtbot.mouseClick(panel.overview, LEFT, CONTROL, pos=where)


def cell_point(panel: AttentionPanel, which: int, row: int, column: int) -> QPoint:
    rect, content = panel.compared_maps.map_rects()[which], panel.compared_maps.maps[which].content
    rows, columns = content.weights.shape
    x = rect.left() + (column + 0.5) * rect.width() / columns
    return QPointF(x, rect.top() + (row + 0.5) * rect.height() / rows).toPoint()


def places(panel: AttentionPanel) -> list[tuple[int, int]]:
    return [shown.place for shown in panel.compared_maps.maps]


def test_that_ctrl_click_puts_a_head_beside_the_opened_one(qtbot, state, panel):
    pick(qtbot, panel, (1, 3))
    assert panel.map_stack.currentWidget() is panel.compared_maps
    assert places(panel) == [(2, 5), (1, 3)]
    assert panel.facts == "cross · 2 heads side by side"
    assert state.head == HeadRef("cross", 2, 5)
    for shown in panel.compared_maps.maps:
        np.testing.assert_array_equal(shown.content.weights, state.overview.weights[shown.place])


def test_that_a_fifth_head_takes_the_place_of_the_oldest(qtbot, panel):
    pick(qtbot, panel, (0, 0), (0, 1), (0, 2), (0, 3))
    assert places(panel) == [(0, 0), (0, 1), (0, 2), (0, 3)]


def test_that_picking_again_takes_a_head_away_and_one_alone_ends_it(qtbot, panel):
    pick(qtbot, panel, (1, 3), (0, 0), (1, 3))
    assert places(panel) == [(2, 5), (0, 0)]
    pick(qtbot, panel, (0, 0))
    assert panel.map_stack.currentWidget() is panel.heat_map
    assert panel.facts == "cross · layer 2 · head 5 · 4 × 7"


@pytest.mark.parametrize("end", ["opened", "another", "kind", "view"])
def test_that_opening_a_head_a_kind_or_a_view_ends_it(qtbot, panel, end):
    pick(qtbot, panel, (1, 3))
    if end == "kind":
        qtbot.mouseClick(panel.controls.kinds.button("encoder"), LEFT)
    elif end == "view":
        qtbot.mouseClick(panel.controls.views.button("lines"), LEFT)
    else:
        place = (2, 5) if end == "opened" else (0, 7)
        qtbot.mouseClick(panel.overview, LEFT, pos=panel.overview.cell_rect(*place).center().toPoint())
    assert panel.map_stack.currentWidget() is not panel.compared_maps
    assert panel.overview._marked == ()


def test_that_a_hover_reads_the_weight_in_every_head(qtbot, state, panel):
    pick(qtbot, panel, (1, 3), (0, 0))
    qtbot.mouseMove(panel.compared_maps, cell_point(panel, 1, 2, 3))
    qtbot.waitUntil(lambda: panel.compared_maps.hovered == MapHit(2, 3))
    weights = state.overview.weights
    said = f"2·5 {weights[2, 5, 2, 3]:.4f} · 1·3 {weights[1, 3, 2, 3]:.4f} · 0·0 {weights[0, 0, 2, 3]:.4f}"
    assert panel.readout.text == f"▁machine → apprentissage  {said}"
    assert state.hover == TokenRef("generated", 2)
    titles = [panel.compared_maps.title(shown, 1000) for shown in panel.compared_maps.maps]
    assert titles[1] == f"layer 1 · head 3: {weights[1, 3, 2, 3]:.4f}"
    assert panel.compared_maps.title(panel.compared_maps.maps[2], 80) == f"0·0: {weights[0, 0, 2, 3]:.4f}"


def test_that_a_click_selects_the_pair_in_all_of_them(qtbot, state, panel):
    pick(qtbot, panel, (1, 3))
    qtbot.mouseClick(panel.compared_maps, LEFT, pos=cell_point(panel, 0, 1, 4))
    assert state.selection.refs == (TokenRef("generated", 1), TokenRef("source", 4))
    assert panel.compared_maps.emphasis.cells == {(1, 4)}


def test_that_equal_weights_have_equal_colours_in_all_maps(qtbot, state, panel, theme):
    weights = state.overview.weights.copy()
    weights[1, 3] = weights[2, 5]
    weights[0, 0] = weights[2, 5] / 2
    state.set_overview(dataclasses.replace(state.overview, weights=weights))
    pick(qtbot, panel, (1, 3), (0, 0))
    image = panel.compared_maps.grab().toImage()
    table = heat_table(theme.palette.heat_low, theme.palette.heat_high)
    for which, place in enumerate([(2, 5), (1, 3), (0, 0)]):
        expected = table[panel.compared_maps.scale.indices(weights[place][1, 2])]
        color = image.pixelColor(cell_point(panel, which, 1, 2))
        assert (color.red(), color.green(), color.blue()) == tuple(expected)


def test_that_words_and_hidden_tokens_hold_for_all_of_them(qtbot, panel):
    pick(qtbot, panel, (1, 3))
    panel.findChild(QAction, "attention_merge_subwords_into_words").trigger()
    panel.findChild(QAction, "attention_hide_special_tokens").trigger()
    maps = panel.compared_maps.maps
    assert [shown.content.weights.shape for shown in maps] == [(4, 3), (4, 3)]
    hidden = [f"{shown.content.hidden_mass.mean():.1%}" for shown in maps]
    assert f"special tokens hidden: 2·5 {hidden[0]}, 1·3 {hidden[1]} of the weight" in panel.caption.text()
    assert hidden[0] != hidden[1]


def test_that_they_grow_with_the_steps(qtbot, state, panel):
    pick(qtbot, panel, (1, 3))
    run = make_run(5)
    state.set_run(run)
    state.set_overview(make_overview(run, state.head))
    assert [shown.content.weights.shape for shown in panel.compared_maps.maps] == [(5, 7), (5, 7)]


def test_that_maps_keep_their_own_tokens_until_those_of_another_branch_are_read(qtbot, state, panel):
    pick(qtbot, panel, (1, 3))
    before = [token.label for token in panel.compared_maps.maps[0].content.rows]
    run = state.run
    other = dataclasses.replace(run.steps[1], token=Token(77, "▁like", "like", None, False))
    branch = dataclasses.replace(run, steps=(run.steps[0], other, *run.steps[2:]))
    state.set_run(branch)
    state.set_attention(make_attention(branch, state.head))
    assert [token.label for token in panel.compared_maps.maps[0].content.rows] == before
    state.set_overview(make_overview(branch, state.head))
    after = [token.label for token in panel.compared_maps.maps[0].content.rows]
    assert after == [before[0], "▁like", *before[2:]]


def test_that_a_cell_of_a_longer_run_does_no_harm(qtbot, state, panel):
    pick(qtbot, panel, (1, 3))
    state.set_selection(Selection(TokenRef("generated", 3), TokenRef("source", 3)))
    shorter = make_run(2)
    maps = make_overview(shorter, state.head)
    state.set_run(shorter)
    state.set_overview(maps)
    panel.compared_maps.set_emphasis(MapEmphasis(cells=frozenset({(3, 3)})))
    assert panel.compared_maps.reading(MapHit(3, 3)).facts.startswith("Point at")
    assert panel.compared_maps.title(panel.compared_maps.maps[0], 1000) == "layer 2 · head 5"
    panel.grab()


def test_that_heads_of_a_long_text_are_exact_under_the_pointer(qtbot, state, panel):
    """More cells than pixels: a pixel shows the largest of its cells, the reading is the one cell's."""
    rows = columns = 600
    rng = np.random.default_rng(2)
    refs = tuple(TokenRef("source", index) for index in range(rows))
    tokens = tuple(Token(index, f"▁w{index}", f"w{index}", None, False) for index in range(rows))
    run = dataclasses.replace(state.run, source=TokenizedText(state.source_text, tokens))
    state.set_run(run)
    state.set_head(HeadRef("encoder", 0, 0))
    weights = rng.random((2, rows, columns), dtype=np.float32) / 1000
    weights[1, 301, 402] = 0.75
    maps = [AttentionMap(HeadRef("encoder", 0, i), weights[i], refs, refs) for i in range(2)]
    state.set_attention(maps[0])
    state.mark_heads(((0, 0), (0, 1)))
    state.marked.set_maps(run, tuple(maps))
    assert panel.facts == "encoder · 2 heads side by side · a pixel is the largest of 2 × 2"
    view, rect = panel.compared_maps, panel.compared_maps.map_rects()[1]
    peak = view.scale.indices(0.75)
    table = heat_table(panel.theme.palette.heat_low, panel.theme.palette.heat_high)
    image = view.grab(rect.toRect()).toImage()
    ink = tuple(table[peak])
    found = sum(
        image.pixelColor(x, y).getRgb()[:3] == ink
        for x in range(image.width())
        for y in range(image.height())
    )
    assert found >= 1
    where = cell_point(panel, 1, 120, 77)
    hit = view.hit(QPointF(where))
    qtbot.mouseMove(view, where)
    assert f"0·1 {weights[1, hit.row, hit.column]:.4f}" in panel.readout.text
    for _ in range(20):
        turn_wheel(view, where)
    assert panel.facts == "encoder · 2 heads side by side"
    zoomed = view.hit(QPointF(where))
    assert (zoomed.row, zoomed.column) == (hit.row, hit.column)
    qtbot.mouseDClick(view, LEFT, pos=where)
    assert "largest of 2 × 2" in panel.facts


def test_that_a_zoomed_set_of_maps_is_moved_by_a_drag_and_stops_at_its_edges(qtbot, state, panel):
    pick(qtbot, panel, (1, 3))
    view, where = panel.compared_maps, cell_point(panel, 0, 2, 3)
    turn_wheel(view, where)
    turn_wheel(view, where)
    before = view.hit(QPointF(where))
    qtbot.mousePress(view, LEFT, pos=where)
    for x in range(0, 900, 30):
        qtbot.mouseMove(view, where + QPoint(-x, 0))
    qtbot.mouseRelease(view, LEFT, pos=where + QPoint(-870, 0))
    assert state.selection == Selection()
    right = view.map_rects()[0]
    last = view.hit(QPointF(right.right() - 1, right.center().y()))
    assert last.column == view.maps[0].content.weights.shape[1] - 1
    assert view.hit(QPointF(where)).column > before.column


def turn_wheel(view, where: QPoint) -> None:
    place = QPointF(where)
    event = QWheelEvent(
        place,
        QPointF(view.mapToGlobal(where)),
        QPoint(),
        QPoint(0, 120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(view, event)


@pytest.mark.parametrize("size", [(380, 260), (450, 420), (1200, 800)])
def test_that_maps_keep_to_the_widget_and_do_not_overlap(qtbot, panel, size):
    pick(qtbot, panel, (1, 3), (0, 0), (0, 1))
    panel.resize(*size)
    rects = panel.compared_maps.map_rects()
    for i, rect in enumerate(rects):
        assert rect.right() <= panel.compared_maps.width()
        assert rect.bottom() <= panel.compared_maps.height() + 1
        assert not any(rect.intersects(other) for other in rects[i + 1 :])
