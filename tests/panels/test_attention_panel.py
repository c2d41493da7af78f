from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QAction, QContextMenuEvent, QHelpEvent, QImage, QWheelEvent
from PySide6.QtWidgets import QApplication, QFileDialog, QPushButton, QToolTip

from explorer.app.state import AppState, Emphasis
from explorer.colormaps import heat_table
from explorer.core.records import AttentionMap, AttentionOverview, RunSnapshot
from explorer.core.selection import HeadRef, Selection, TokenRef
from explorer.core.tokens import Token, TokenizedText
from explorer.panels.attention.line_map import MOST_LINES
from explorer.panels.attention_panel import AttentionPanel
from explorer.theme import Theme
from tests.support import SOURCE, fill, make_attention, make_model, make_overview, make_run

LEFT = Qt.MouseButton.LeftButton
CROSS = HeadRef("cross", 2, 5)
HOSTILE = ('"', "#", "<b>x</b>", "a\tb", "שלום", "😀", "", "x" * 200, "\n", "&amp;", "\u202eabc", "%s", "{0}")


@pytest.fixture
def make_panel(qtbot, state: AppState, theme: Theme) -> Iterator[Callable[..., AttentionPanel]]:
    held: list[AttentionPanel] = []  # qtbot holds no reference: a panel could go in the middle of a paint

    def make(width: int = 700, height: int = 620) -> AttentionPanel:
        panel = AttentionPanel(state, theme)
        qtbot.addWidget(panel)
        panel.resize(width, height)
        panel.show()
        qtbot.waitExposed(panel)
        held.append(panel)
        return panel

    yield make
    held.clear()


def cell_point(panel: AttentionPanel, row: int, column: int) -> QPoint:
    geometry = panel.heat_map.geometry_now()
    assert geometry is not None
    return geometry.cell_rect(row, column).center().toPoint()


def row_label_point(panel: AttentionPanel, row: int) -> QPoint:
    geometry = panel.heat_map.geometry_now()
    assert geometry is not None
    return QPoint(int(geometry.view.left()) - 15, cell_point(panel, row, 0).y())


def column_label_point(panel: AttentionPanel, column: int) -> QPoint:
    """Just above the column, where its label begins, whichever way it stands."""
    geometry = panel.heat_map.geometry_now()
    assert geometry is not None
    return QPoint(cell_point(panel, 0, column).x() + 3, int(geometry.view.top()) - 5)


def show_texts(state: AppState, texts: tuple[str, ...], kind: str = "encoder") -> AttentionMap:
    """A run over a made-up sentence of these pieces, with one of its maps."""
    source = TokenizedText("made up", tuple(Token(100 + i, t, t, None, False) for i, t in enumerate(texts)))
    state.set_source_text(source.text)
    state.set_model(make_model())
    state.set_source(source)
    run = dataclasses.replace(make_run(4), source=source)
    state.set_run(run)
    state.set_head(HeadRef(kind, 0, 0))
    attention = make_attention(run, state.head)
    state.set_attention(attention)
    return attention


# -- choosing a head ------------------------------------------------------------------------------


def test_that_a_click_on_a_thumbnail_opens_that_head(qtbot, state, make_panel):
    fill(state)
    panel = make_panel()
    qtbot.mouseClick(panel.overview, LEFT, pos=panel.overview.cell_rect(1, 3).center().toPoint())
    assert state.head == HeadRef("cross", 1, 3)


def test_that_the_overview_has_layers_as_rows_and_heads_as_columns(state, make_panel):
    fill(state)
    overview = make_panel().overview
    for layer in range(3):
        for head in range(8):
            assert overview.head_at(overview.cell_rect(layer, head).center()) == (layer, head)


def test_that_arrow_keys_walk_through_the_overview_and_stop_at_its_edges(qtbot, state, make_panel):
    fill(state)
    panel = make_panel()
    panel.overview.setFocus()
    qtbot.keyClick(panel.overview, Qt.Key.Key_Right)
    assert state.head == HeadRef("cross", 2, 6)
    qtbot.keyClick(panel.overview, Qt.Key.Key_Down)
    assert state.head == HeadRef("cross", 2, 6)
    qtbot.keyClick(panel.overview, Qt.Key.Key_Up)
    assert state.head == HeadRef("cross", 1, 6)


def test_that_kind_buttons_change_the_kind_and_keep_layer_and_head(qtbot, state, make_panel):
    fill(state)
    panel = make_panel()
    for kind in ("encoder", "decoder", "cross"):
        qtbot.mouseClick(panel.controls.kinds.button(kind), LEFT)
        assert state.head == HeadRef(kind, 2, 5)
        assert panel.controls.kinds.button(kind).isChecked()


def test_that_only_the_kinds_that_the_model_has_are_offered(state, make_panel):
    model = dataclasses.replace(
        make_model(), family="decoder-only", layers={"decoder": 4}, heads={"decoder": 2}
    )
    panel = make_panel()
    state.set_model(model)
    assert panel.controls.kinds.names == ("decoder",)
    assert [b.text() for b in panel.controls.kinds.findChildren(QPushButton) if b.isVisible()] == ["decoder"]


def test_that_a_kind_with_fewer_layers_gets_its_last_layer(qtbot, state, make_panel):
    layers = {"encoder": 6, "decoder": 2, "cross": 2}
    state.set_model(dataclasses.replace(make_model(), layers=layers))
    state.set_head(HeadRef("encoder", 5, 1))
    panel = make_panel()
    qtbot.mouseClick(panel.controls.kinds.button("cross"), LEFT)
    assert state.head == HeadRef("cross", 1, 1)


def test_that_the_number_boxes_write_the_head_and_follow_it(qtbot, state, make_panel):
    fill(state)
    panel = make_panel()
    qtbot.keyClick(panel.controls.layer_box, Qt.Key.Key_Down)
    assert state.head == HeadRef("cross", 1, 5)
    qtbot.keyClick(panel.controls.head_box, Qt.Key.Key_Up)
    assert state.head == HeadRef("cross", 1, 6)
    state.set_head(HeadRef("encoder", 0, 7))
    assert (panel.controls.layer_box.value(), panel.controls.head_box.value()) == (0, 7)
    assert panel.controls.head_box.maximum() == 7


def test_that_an_overview_of_another_kind_is_not_drawn_as_this_one(state, make_panel):
    run = fill(state)
    panel = make_panel()
    drawn = panel.overview.grab().toImage()
    state.set_head(HeadRef("encoder", 2, 5))
    assert panel.overview.grab().toImage() != drawn
    placeholder = panel.overview.grab().toImage()
    state.set_overview(make_overview(run, HeadRef("encoder", 2, 5)))
    assert panel.overview.grab().toImage() != placeholder


def test_that_pooled_thumbnails_say_so(qtbot, state, make_panel):
    fill(state)
    weights = np.full((3, 8, 32, 32), 0.1, np.float32)
    state.set_overview(AttentionOverview("cross", weights, 400, 300, "max"))
    panel = make_panel()
    where = panel.overview.cell_rect(0, 0).center().toPoint()
    event = QHelpEvent(QEvent.Type.ToolTip, where, panel.overview.mapToGlobal(where))
    QApplication.sendEvent(panel.overview, event)
    assert "largest" in QToolTip.text()
    QToolTip.hideText()


# -- reading weights ------------------------------------------------------------------------------


def test_that_hovering_a_cell_shows_the_exact_weight_and_both_tokens(qtbot, state, make_panel):
    fill(state)
    panel = make_panel()
    weights = state.attention.weights
    for row, column in ((0, 0), (3, 3), (2, 6)):
        qtbot.mouseMove(panel.heat_map, cell_point(panel, row, column))
        piece = state.run.steps[row].token.piece
        expected = f"{piece} → {SOURCE[column].piece}  {weights[row, column]:.4f} · row sum 1.0000"
        assert panel.readout.text == expected


def test_that_the_tooltip_tells_the_stored_float_exactly(state, make_panel):
    fill(state)
    panel = make_panel()
    where = cell_point(panel, 1, 2)
    event = QHelpEvent(QEvent.Type.ToolTip, where, panel.heat_map.mapToGlobal(where))
    QApplication.sendEvent(panel.heat_map, event)
    line = next(line for line in QToolTip.text().splitlines() if line.startswith("weight "))
    assert np.float32(line.removeprefix("weight ")) == state.attention.weights[1, 2]
    QToolTip.hideText()


def test_that_every_cell_is_found_where_it_is_drawn(state, make_panel):
    fill(state)
    panel = make_panel()
    for row in range(4):
        for column in range(7):
            point = cell_point(panel, row, column)
            hit = panel.heat_map.hit(point.x(), point.y())
            assert (hit.row, hit.column) == (row, column)


def test_that_the_strongest_cell_has_the_strongest_colour(state, make_panel, theme):
    run = fill(state)
    weights = np.array([[0.0, 1.0, 0, 0, 0, 0, 0]] * 4, np.float32)
    state.set_attention(AttentionMap(CROSS, weights, *run.attention_axes("cross")))
    panel = make_panel()
    geometry = panel.heat_map.geometry_now()
    image = panel.heat_map.grab().toImage()
    corner = QPointF(6, 6)
    strong = image.pixelColor((geometry.cell_rect(1, 1).topLeft() + corner).toPoint())
    weak = image.pixelColor((geometry.cell_rect(1, 2).topLeft() + corner).toPoint())
    assert strong == theme.color("heat_high")
    assert weak == theme.color("heat_low")


def test_that_rows_are_said_to_be_the_tokens_being_written(state, make_panel):
    run = fill(state)
    panel = make_panel()
    assert "rows: token being written" in panel.caption.text()
    encoder = HeadRef("encoder", 0, 0)
    state.set_head(encoder)
    state.set_attention(make_attention(run, encoder))
    assert "written" not in panel.caption.text()


def test_that_the_facts_name_the_head_that_is_drawn_and_its_size(state, make_panel):
    run = fill(state)
    panel = make_panel()
    assert panel.facts == "cross · layer 2 · head 5 · 4 × 7"
    state.set_head(HeadRef("cross", 0, 1))
    assert panel.facts == "cross · layer 2 · head 5 · 4 × 7"
    state.set_attention(make_attention(run, state.head))
    assert panel.facts == "cross · layer 0 · head 1 · 4 × 7"


# -- one selection --------------------------------------------------------------------------------


def test_that_hovering_a_cell_hovers_its_query_and_leaving_ends_it(qtbot, state, make_panel):
    fill(state)
    panel = make_panel()
    qtbot.mouseMove(panel.heat_map, cell_point(panel, 2, 4))
    assert state.hover == TokenRef("generated", 2)
    QApplication.sendEvent(panel.heat_map, QEvent(QEvent.Type.Leave))
    assert state.hover is None


def test_that_hovering_a_label_hovers_its_token(qtbot, state, make_panel):
    fill(state)
    panel = make_panel()
    qtbot.mouseMove(panel.heat_map, row_label_point(panel, 1))
    assert state.hover == TokenRef("generated", 1)
    qtbot.mouseMove(panel.heat_map, column_label_point(panel, 4))
    assert state.hover == TokenRef("source", 4)


def test_that_a_click_on_a_cell_selects_the_pair(qtbot, state, make_panel):
    fill(state)
    panel = make_panel()
    qtbot.mouseClick(panel.heat_map, LEFT, pos=cell_point(panel, 3, 3))
    assert state.selection == Selection(TokenRef("generated", 3), TokenRef("source", 3))
    assert panel.heat_map.emphasis.cells == {(3, 3)}


def test_that_a_click_on_the_diagonal_of_self_attention_selects_one_token(qtbot, state, make_panel):
    fill(state, head=HeadRef("encoder", 0, 0))
    panel = make_panel()
    qtbot.mouseClick(panel.heat_map, LEFT, pos=cell_point(panel, 2, 2))
    assert state.selection == Selection(TokenRef("source", 2))


def test_that_a_click_on_a_label_selects_its_token_and_ctrl_click_a_pair(qtbot, state, make_panel):
    fill(state)
    panel = make_panel()
    qtbot.mouseClick(panel.heat_map, LEFT, pos=column_label_point(panel, 3))
    assert state.selection == Selection(TokenRef("source", 3))
    control = Qt.KeyboardModifier.ControlModifier
    qtbot.mouseClick(panel.heat_map, LEFT, control, pos=row_label_point(panel, 0))
    assert state.selection == Selection(TokenRef("source", 3), TokenRef("generated", 0))
    assert panel.heat_map.emphasis.cells == {(0, 3)}


def test_that_a_click_on_nothing_clears_the_selection(qtbot, state, make_panel):
    fill(state)
    panel = make_panel()
    state.select(TokenRef("source", 1))
    qtbot.mouseClick(panel.heat_map, LEFT, pos=QPoint(3, 3))
    assert state.selection == Selection()


def test_that_a_token_selected_elsewhere_lights_up_its_row_or_column(state, make_panel):
    fill(state)
    panel = make_panel()
    state.select(TokenRef("generated", 2))
    assert panel.heat_map.emphasis.rows == {2: Emphasis.SELECTED}
    assert panel.heat_map.emphasis.columns == {}
    state.select(TokenRef("source", 5))
    assert panel.heat_map.emphasis.columns == {5: Emphasis.SELECTED}


def test_that_a_selected_row_has_amber_around_it(state, make_panel, theme):
    fill(state)
    panel = make_panel()
    state.select(TokenRef("generated", 2))
    geometry = panel.heat_map.geometry_now()
    image = panel.heat_map.grab().toImage()
    edge = geometry.row_rect(2)
    around = [image.pixelColor(int(edge.left()) + 20, int(edge.top()) + dy) for dy in (-1, 0, 1)]
    assert theme.color("selection") in around


def test_that_a_token_hovered_elsewhere_and_its_twins_stand_out(state, make_panel):
    fill(state, steps=5)
    panel = make_panel()
    state.set_hover(TokenRef("generated", 4))
    # Generated "." and source "." are the same vocabulary row.
    assert panel.heat_map.emphasis.rows == {4: Emphasis.HOVERED}
    assert panel.heat_map.emphasis.columns == {5: Emphasis.SAME}


def test_that_a_token_of_self_attention_lights_up_as_row_and_as_column(state, make_panel):
    fill(state, head=HeadRef("encoder", 0, 0))
    panel = make_panel()
    state.select(TokenRef("source", 1))
    assert panel.heat_map.emphasis.rows == panel.heat_map.emphasis.columns == {1: Emphasis.SELECTED}


def test_that_the_emphasis_agrees_with_the_state_token_by_token(state, make_panel):
    fill(state, steps=6)
    panel = make_panel()
    state.set_selection(Selection(TokenRef("generated", 4), TokenRef("source", 6)))
    state.set_hover(TokenRef("source", 0))
    axes = ("rows", state.attention.queries), ("columns", state.attention.keys)
    for axis, refs in axes:
        named = getattr(panel.heat_map.emphasis, axis)
        assert [named.get(i, Emphasis.NONE) for i in range(len(refs))] == [state.emphasis(r) for r in refs]


def test_that_the_row_that_wrote_the_viewed_step_is_marked(state, make_panel):
    fill(state)
    panel = make_panel()
    state.set_viewed_step(1)
    assert panel.heat_map.emphasis.marked_row == 1


def test_that_in_a_decoder_only_model_the_token_before_the_written_one_is_marked(state, make_panel):
    state.set_source_text("J'aime l'apprentissage automatique.")
    state.set_model(
        dataclasses.replace(make_model(), family="decoder-only", layers={"decoder": 3}, heads={"decoder": 8})
    )
    run = make_run(3, family="decoder-only")
    state.set_source(run.source)
    state.set_run(run)
    state.set_attention(make_attention(run, state.head))
    panel = make_panel()
    state.set_viewed_step(0)
    assert panel.heat_map.emphasis.marked_row == len(SOURCE) - 1
    state.set_viewed_step(2)
    assert panel.heat_map.emphasis.marked_row == len(SOURCE) + 1


# -- nothing to show, too much to show --------------------------------------------------------------


def test_that_without_a_model_a_sentence_says_what_to_do(state, make_panel):
    panel = make_panel()
    assert not panel.body.isVisible()


@pytest.mark.parametrize("kind", ["decoder", "cross"])
def test_that_before_the_first_step_the_person_is_told_to_step(state, make_panel, kind):
    fill(state, steps=0, head=HeadRef(kind, 0, 0))
    panel = make_panel()
    assert panel.map_hint == "Press Step: the decoder has not taken a step yet."
    assert not panel.heat_map.isVisible()


def test_that_encoder_maps_are_there_before_the_first_step(state, make_panel):
    fill(state, steps=0, head=HeadRef("encoder", 0, 0))
    panel = make_panel()
    assert panel.heat_map.isVisible()
    assert panel.facts.endswith("7 × 7")


def test_that_the_map_grows_with_the_steps_and_shrinks_with_back(state, make_panel):
    fill(state, steps=0)
    panel = make_panel()
    for steps in (1, 2, 3, 2, 1):
        run = make_run(steps)
        state.set_run(run)
        state.set_attention(make_attention(run, state.head))
        assert panel.facts.endswith(f"{steps} × 7")
    state.set_run(make_run(0))
    assert not panel.heat_map.isVisible()


def test_that_a_map_newer_or_older_than_the_run_does_no_harm(state, make_panel):
    fill(state, steps=4)
    panel = make_panel()
    state.set_run(make_run(2))
    panel.grab()
    state.set_attention(make_attention(make_run(6), CROSS))
    panel.grab()
    assert panel.heat_map.content.rows[5].label == "…"


def test_that_a_stale_map_is_dimmed_and_takes_no_clicks(qtbot, state, make_panel):
    fill(state)
    panel = make_panel()
    fresh = panel.heat_map.grab().toImage()
    state.set_source_text("another text")
    assert state.stale
    assert panel.heat_map.grab().toImage() != fresh
    qtbot.mouseClick(panel.heat_map, LEFT, pos=cell_point(panel, 1, 1))
    assert state.selection == Selection()


def test_that_hostile_token_texts_are_drawn_and_read_as_plain_text(qtbot, state, make_panel):
    show_texts(state, HOSTILE)
    panel = make_panel()
    panel.grab()
    qtbot.mouseMove(panel.heat_map, cell_point(panel, 2, 0))
    assert panel.readout.text.startswith('<b>x</b> → "  ')
    for row in range(len(HOSTILE)):
        where = cell_point(panel, row, 7)
        QApplication.sendEvent(
            panel.heat_map, QHelpEvent(QEvent.Type.ToolTip, where, panel.heat_map.mapToGlobal(where))
        )
    QToolTip.hideText()
    labels = [token.label for token in panel.heat_map.content.rows]
    assert not any(set("\t\n\u202e") & set(label) for label in labels)
    assert all(labels)
    assert max(map(len, labels)) <= 60


def test_that_a_map_of_one_token_is_drawn(qtbot, state, make_panel):
    show_texts(state, ("▁a",))
    panel = make_panel()
    panel.grab()
    qtbot.mouseClick(panel.heat_map, LEFT, pos=cell_point(panel, 0, 0))
    assert state.selection == Selection(TokenRef("source", 0))


@pytest.mark.parametrize("size", [(380, 260), (700, 620), (1200, 800)])
@pytest.mark.parametrize("count", [1, 7, 40, 300])
def test_that_labels_neither_overlap_nor_leave_the_widget(state, make_panel, size, count):
    show_texts(state, tuple(f"▁token{i}" for i in range(count)))
    panel = make_panel(*size)
    geometry = panel.heat_map.geometry_now()
    assert geometry.view.left() - geometry.row_label_width >= 0
    assert geometry.view.right() <= panel.heat_map.width()
    assert geometry.view.bottom() <= panel.heat_map.height()
    line = panel.heat_map._metrics().line
    assert geometry.row_stride * geometry.cell.height() >= line * 0.8
    panel.grab()


def test_that_a_large_map_reads_exactly_under_the_pointer(qtbot, state, make_panel):
    attention = show_texts(state, tuple(f"t{i}" for i in range(300)))
    panel = make_panel()
    point = cell_point(panel, 150, 77)
    hit = panel.heat_map.hit(point.x(), point.y())
    qtbot.mouseMove(panel.heat_map, point)
    assert f"{attention.weights[hit.row, hit.column]:.4f}" in panel.readout.text
    assert f"t{hit.row} → t{hit.column}  " in panel.readout.text


def test_that_a_cell_below_a_pixel_still_shows_its_peak(state, make_panel, theme):
    attention = show_texts(state, tuple(f"t{i}" for i in range(1024)))
    weights = np.zeros((1024, 1024), np.float32)
    weights[501, 333] = 1.0
    state.set_attention(dataclasses.replace(attention, weights=weights))
    panel = make_panel()
    down, across = panel.heat_map.pooling
    assert down * across > 1
    assert panel.facts.endswith(f"1024 × 1024 · a pixel is the largest of {down} × {across}")
    geometry = panel.heat_map.geometry_now()
    image = panel.heat_map.grab().toImage()
    at = geometry.cell_rect(501, 333).center().toPoint()
    near = [image.pixelColor(at + QPoint(dx, dy)) for dx in (-1, 0, 1) for dy in (-1, 0, 1)]
    assert theme.color("heat_high") in near


# -- zoom -------------------------------------------------------------------------------------------


def wheel(panel: AttentionPanel, at: QPoint, notches: int) -> None:
    for _ in range(abs(notches)):
        event = QWheelEvent(
            QPointF(at),
            QPointF(panel.heat_map.mapToGlobal(at)),
            QPoint(),
            QPoint(0, 120 if notches > 0 else -120),
            Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier,
            Qt.ScrollPhase.NoScrollPhase,
            False,
        )
        QApplication.sendEvent(panel.heat_map, event)


def test_that_the_wheel_zooms_about_the_cell_under_the_pointer(state, make_panel):
    show_texts(state, tuple(f"t{i}" for i in range(300)))
    panel = make_panel()
    at = cell_point(panel, 150, 150)
    before = panel.heat_map.hit(at.x(), at.y())
    width = panel.heat_map.geometry_now().cell.width()
    wheel(panel, at, 6)
    after = panel.heat_map.hit(at.x(), at.y())
    assert panel.heat_map.geometry_now().cell.width() > 3 * width
    assert abs(after.row - before.row) <= 1
    assert abs(after.column - before.column) <= 1
    wheel(panel, at, -20)
    assert panel.heat_map.geometry_now().visible_rows == range(300)


def test_that_a_drag_moves_a_zoomed_map_and_selects_nothing(qtbot, state, make_panel):
    show_texts(state, tuple(f"t{i}" for i in range(300)))
    panel = make_panel()
    at = cell_point(panel, 150, 150)
    wheel(panel, at, 8)
    first = panel.heat_map.geometry_now().origin
    qtbot.mousePress(panel.heat_map, LEFT, pos=at)
    for step in (15, 40):
        qtbot.mouseMove(panel.heat_map, at + QPoint(step, step))
    qtbot.mouseRelease(panel.heat_map, LEFT, pos=at + QPoint(40, 40))
    second = panel.heat_map.geometry_now().origin
    assert second.x() < first.x()
    assert second.y() < first.y()
    assert state.selection == Selection()
    qtbot.mouseDClick(panel.heat_map, LEFT, pos=at)
    assert panel.heat_map.geometry_now().visible_columns == range(300)


def test_that_the_panel_survives_a_change_of_theme_and_scale(state, make_panel, theme):
    fill(state)
    panel = make_panel(380, 260)
    for scheme, scale in (("dark", 1.35), ("light", 2.0), ("dark", 1.0)):
        theme.set_scheme(scheme)
        theme.set_scale(scale)
        panel.grab()


def test_that_a_run_without_a_map_says_that_it_is_being_read(state, make_panel):
    run: RunSnapshot = fill(state)
    state.set_attention(None)
    panel = make_panel()
    assert panel.map_hint == "Reading this head…"
    state.set_attention(make_attention(run, CROSS))
    assert panel.map_hint == ""


def test_that_a_map_of_an_older_run_never_gets_the_new_runs_labels(state, make_panel):
    fill(state)
    panel = make_panel()
    source = TokenizedText("new", tuple(dataclasses.replace(token, piece="new") for token in SOURCE))
    state.set_run(dataclasses.replace(make_run(4, run_id=2), source=source))
    assert panel.map_hint == "Reading this head…"
    state.set_attention(make_attention(state.run, CROSS))
    assert panel.heat_map.content.columns[0].label == "new"


# -- how it is drawn --------------------------------------------------------------------------------


def choose(panel: AttentionPanel, name: str) -> None:
    """Pick an entry of the display menu."""
    action = next(a for a in panel.controls.menu.actions() if a.objectName() == f"attention_{name}")
    action.trigger()


@pytest.mark.parametrize("transform", ["linear", "square_root", "log"])
@pytest.mark.parametrize("top", ["fixed", "per_map"])
def test_that_the_scale_bar_states_the_scale_that_the_cells_have(state, make_panel, theme, transform, top):
    fill(state)
    panel = make_panel()
    choose(panel, transform)
    choose(panel, top)
    scale = panel.scale_bar.scale
    assert panel.scale_bar.isVisible()
    assert scale == panel.heat_map.scale
    assert scale.transform == transform.replace("_", " ")
    assert scale.top == (1.0 if top == "fixed" else state.attention.weights.max())
    geometry = panel.heat_map.geometry_now()
    image = panel.heat_map.grab().toImage()
    table = heat_table(theme.palette.heat_low, theme.palette.heat_high)
    for row, column in ((0, 0), (2, 3), (3, 6)):
        inside = (geometry.cell_rect(row, column).topLeft() + QPointF(5, 5)).toPoint()
        expected = table[scale.indices(state.attention.weights[row, column])]
        assert image.pixelColor(inside).getRgb()[:3] == tuple(int(part) for part in expected)


def test_that_hidden_special_tokens_leave_and_their_weight_is_stated(qtbot, state, make_panel):
    fill(state)
    panel = make_panel()
    choose(panel, "hide_special_tokens")
    weights = state.attention.weights
    assert panel.facts.endswith("4 × 6")
    np.testing.assert_array_equal(panel.heat_map.content.weights, weights[:, :6])
    mean = float(weights[:, 6].astype(np.float64).mean())
    assert f"special tokens hidden: {mean:.1%} of the weight" in panel.caption.text()
    qtbot.mouseMove(panel.heat_map, cell_point(panel, 1, 2))
    assert f"hidden {weights[1, 6]:.4f}" in panel.readout.text
    assert f"row sum {1 - weights[1, 6]:.4f}" in panel.readout.text


def test_that_rows_are_scaled_to_one_only_when_asked_to(qtbot, state, make_panel):
    fill(state)
    panel = make_panel()
    choose(panel, "hide_special_tokens")
    choose(panel, "scale_the_rest_of_each_row_to_1")
    weights = state.attention.weights[:, :6].astype(np.float64)
    expected = weights / weights.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(panel.heat_map.content.weights, expected, rtol=1e-6)
    assert "rows scaled to 1" in panel.caption.text()
    qtbot.mouseMove(panel.heat_map, cell_point(panel, 1, 2))
    assert f"{expected[1, 2]:.4f} · row sum 1.0000 · hidden" in panel.readout.text


def test_that_hiding_every_token_is_said_and_can_be_undone(state, make_panel):
    show_texts(state, ("▁a",))
    panel = make_panel()
    choose(panel, "hide_the_first_token")
    assert "hidden" in panel.map_hint
    choose(panel, "hide_the_first_token")
    assert panel.map_hint == ""


def test_that_selection_finds_its_row_when_tokens_before_it_are_hidden(qtbot, state, make_panel):
    fill(state, head=HeadRef("encoder", 0, 0))
    panel = make_panel()
    choose(panel, "hide_the_first_token")
    state.select(TokenRef("source", 3))
    assert panel.heat_map.emphasis.rows == {2: Emphasis.SELECTED}
    qtbot.mouseClick(panel.heat_map, LEFT, pos=cell_point(panel, 0, 1))
    assert state.selection == Selection(TokenRef("source", 1), TokenRef("source", 2))


def test_that_sums_leave_room_and_draw_at_every_size(state, make_panel):
    show_texts(state, tuple(f"t{i}" for i in range(40)))
    panel = make_panel(380, 260)
    choose(panel, "sums_of_rows_and_columns")
    geometry = panel.heat_map.geometry_now()
    assert geometry.view.right() + panel.heat_map._metrics().strip.width() <= panel.heat_map.width()
    panel.grab()


# -- lines ------------------------------------------------------------------------------------------


def show_lines(qtbot, panel: AttentionPanel) -> None:
    qtbot.mouseClick(panel.controls.views.button("lines"), LEFT)
    assert panel.line_map.isVisible()


def line_point(panel: AttentionPanel, row: int, column: int, share: float = 0.31) -> QPoint:
    lines = panel.line_map
    left, right = lines._ends()
    y = lines._y(row) + (lines._y(column) - lines._y(row)) * share
    return QPoint(round(left + (right - left) * share), round(y))


def test_that_pointing_at_a_line_reads_its_weight_and_a_click_selects_the_pair(qtbot, state, make_panel):
    fill(state)
    panel = make_panel()
    show_lines(qtbot, panel)
    assert panel.caption.text().startswith("left: token being written · right: token read")
    row, column = np.unravel_index(state.attention.weights.argmax(), state.attention.weights.shape)
    point = line_point(panel, int(row), int(column))
    qtbot.mouseMove(panel.line_map, point)
    assert f"{state.attention.weights[row, column]:.4f}" in panel.readout.text
    qtbot.mouseClick(panel.line_map, LEFT, pos=point)
    assert state.selection == Selection(TokenRef("generated", int(row)), TokenRef("source", int(column)))


def test_that_hovering_a_token_isolates_its_lines(qtbot, state, make_panel):
    fill(state)
    panel = make_panel()
    show_lines(qtbot, panel)
    lines = panel.line_map
    qtbot.mouseMove(lines, QPoint(10, round(lines._y(1))))
    assert state.hover == TokenRef("generated", 1)
    assert lines._isolated(lines.shown_emphasis()) == ([1], [])
    qtbot.mouseMove(lines, QPoint(lines.width() - 10, round(lines._y(4))))
    assert state.hover == TokenRef("source", 4)
    assert lines._isolated(lines.shown_emphasis()) == ([], [4])
    panel.grab()


def test_that_a_token_selected_elsewhere_isolates_its_lines(qtbot, state, make_panel):
    fill(state)
    panel = make_panel()
    show_lines(qtbot, panel)
    state.select(TokenRef("source", 3))
    assert panel.line_map._isolated(panel.line_map.shown_emphasis()) == ([], [3])


def test_that_the_lines_of_a_large_map_are_limited_and_that_is_said(qtbot, state, make_panel):
    attention = show_texts(state, tuple(f"t{i}" for i in range(300)))
    panel = make_panel()
    show_lines(qtbot, panel)
    assert panel.facts.endswith(f"the {MOST_LINES:,} strongest of 90,000 lines")
    rows, columns = panel.line_map._strongest_lines()
    drawn = np.sort(attention.weights[rows, columns])
    strongest = np.sort(attention.weights, axis=None)[-MOST_LINES:]
    np.testing.assert_array_equal(drawn, strongest[-len(drawn) :])
    panel.grab()


def test_that_switching_back_to_the_matrix_shows_the_map_of_now(qtbot, state, make_panel):
    run = fill(state)
    panel = make_panel()
    show_lines(qtbot, panel)
    state.set_head(HeadRef("encoder", 0, 0))
    state.set_attention(make_attention(run, state.head))
    qtbot.mouseClick(panel.controls.views.button("matrix"), LEFT)
    assert panel.heat_map.content.weights is state.attention.weights


# -- files ------------------------------------------------------------------------------------------


def export_to(monkeypatch, panel: AttentionPanel, path: Path) -> None:
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(path), ""))
    panel.controls.export_requested.emit(path.suffix[1:])


def test_that_a_csv_gives_back_the_very_weights_and_pieces(state, make_panel, monkeypatch, tmp_path):
    show_texts(state, HOSTILE)
    export_to(monkeypatch, make_panel(), tmp_path / "map.csv")
    with (tmp_path / "map.csv").open(encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file)
    assert tuple(head[1:]) == HOSTILE
    assert tuple(row[0] for row in rows) == HOSTILE
    np.testing.assert_array_equal(np.array([row[1:] for row in rows], np.float32), state.attention.weights)
    assert state.notice is not None
    assert not state.notice.error


def test_that_an_npz_holds_what_is_drawn_and_says_what_is_not(state, make_panel, monkeypatch, tmp_path):
    fill(state)
    panel = make_panel()
    choose(panel, "hide_special_tokens")
    export_to(monkeypatch, panel, tmp_path / "map.npz")
    with np.load(tmp_path / "map.npz") as saved:
        np.testing.assert_array_equal(saved["weights"], state.attention.weights[:, :6])
        np.testing.assert_allclose(saved["hidden_mass"], state.attention.weights[:, 6])
        assert saved["key_pieces"].tolist() == [token.piece for token in SOURCE[:6]]
        assert (saved["kind"], saved["layer"], saved["head"]) == ("cross", 2, 5)
        assert "special tokens hidden" in str(saved["caption"])


@pytest.mark.parametrize("view", ["matrix", "lines"])
def test_that_pictures_show_the_map_with_its_facts(state, make_panel, monkeypatch, tmp_path, view):
    fill(state)
    panel = make_panel()
    panel.controls.views.button(view).click()
    export_to(monkeypatch, panel, tmp_path / "map.png")
    export_to(monkeypatch, panel, tmp_path / "map.svg")
    picture = QImage(str(tmp_path / "map.png"))
    assert picture.width() > 1.5 * panel.heat_map.width()
    drawing = (tmp_path / "map.svg").read_text(encoding="utf-8")
    for text in ("cross · layer 2 · head 5 · 4 × 7", "apprentissage", "▁learning", "linear"):
        assert text in drawing


def test_that_a_file_that_cannot_be_written_is_one_clear_line(state, make_panel, monkeypatch, tmp_path):
    fill(state)
    export_to(monkeypatch, make_panel(), tmp_path / "missing" / "map.csv")
    assert state.notice.error
    assert "could not be written" in state.notice.text


def test_that_there_is_nothing_to_export_before_the_first_step(state, make_panel, monkeypatch, tmp_path):
    fill(state, steps=0)
    export_to(monkeypatch, make_panel(), tmp_path / "map.csv")
    assert "no attention map" in state.notice.text
    assert not (tmp_path / "map.csv").exists()


def test_that_a_right_click_opens_the_display_menu(qtbot, state, make_panel):
    fill(state)
    panel = make_panel()
    at = cell_point(panel, 1, 1)
    QApplication.sendEvent(
        panel.heat_map,
        QContextMenuEvent(QContextMenuEvent.Reason.Mouse, at, panel.heat_map.mapToGlobal(at)),
    )
    qtbot.waitUntil(panel.controls.menu.isVisible)
    panel.controls.menu.close()
    assert state.selection == Selection()


# -- ordering heads -----------------------------------------------------------------------------------


def order_heads(panel: AttentionPanel, name: str) -> None:
    action = panel.controls.menu.findChild(QAction, f"attention_order_{name}")
    assert action is not None
    action.trigger()


def test_that_heads_can_be_ordered_by_what_they_do_and_still_be_opened(qtbot, state, make_panel):
    fill(state)
    panel = make_panel(1000, 700)
    order_heads(panel, "to_the_first_token")
    first = state.overview.weights[:, :, :, 0].mean(axis=2)
    layer, head = np.unravel_index(first.argmax(), first.shape)
    corner = panel.overview.cell_rect(int(layer), int(head))
    assert corner.top() == min(panel.overview.cell_rect(i, j).top() for i in range(3) for j in range(8))
    assert corner.left() == 0
    qtbot.mouseClick(panel.overview, LEFT, pos=corner.center().toPoint())
    assert state.head == HeadRef("cross", int(layer), int(head))
    ranked = np.argsort(-first, axis=None, kind="stable")
    qtbot.keyClick(panel.overview, Qt.Key.Key_Right)
    assert (state.head.layer, state.head.head) == divmod(int(ranked[1]), 8)
    order_heads(panel, "place")
    assert panel.overview.cell_rect(0, 0).topLeft().x() > 0


def test_that_an_order_that_a_kind_has_not_got_leaves_its_heads_in_place(state, make_panel):
    run = fill(state)
    panel = make_panel(1000, 700)
    order_heads(panel, "diagonal")
    assert min(panel.overview.cell_rect(i, j).left() for i in range(3) for j in range(8)) == 0
    state.set_head(HeadRef("encoder", 0, 0))
    state.set_overview(make_overview(run, state.head))
    assert panel.overview.cell_rect(0, 0).left() > 0
    assert panel.overview.head_at(panel.overview.cell_rect(2, 7).center()) == (2, 7)
    assert "heads not ordered" in panel.caption.text()


def test_that_pooled_thumbnails_are_ordered_by_the_measures_of_the_full_maps(state, make_panel):
    run = fill(state)
    panel = make_panel()
    order_heads(panel, "entropy")
    whole = make_overview(run, state.head)
    weights = np.full((3, 8, 32, 32), 0.1, np.float32)
    state.set_overview(AttentionOverview("cross", weights, 400, 300, "max", whole.measures))
    values = next(v for m, v in whole.measures.items() if m.name == "entropy")
    first = np.unravel_index(values.argmax(), values.shape)
    assert panel.overview.cell_rect(*first).left() == 0


def test_that_a_thumbnails_tooltip_tells_what_its_head_does(state, make_panel):
    fill(state)
    panel = make_panel()
    where = panel.overview.cell_rect(1, 2).center().toPoint()
    QApplication.sendEvent(
        panel.overview, QHelpEvent(QEvent.Type.ToolTip, where, panel.overview.mapToGlobal(where))
    )
    expected = state.overview.weights[1, 2, :, 6].mean()
    assert f"to special tokens: {expected:.4f}" in QToolTip.text()
    QToolTip.hideText()


# -- little room --------------------------------------------------------------------------------------


def test_that_a_low_and_narrow_panel_keeps_the_map_and_drops_the_overview(state, make_panel):
    fill(state)
    panel = make_panel(380, 260)
    assert not panel.overview.isVisible()
    assert panel.heat_map.height() > 100
    panel.resize(700, 620)
    QApplication.processEvents()
    assert panel.overview.isVisible()


@pytest.mark.parametrize(
    ("size", "side_by_side"), [((700, 620), False), ((1200, 420), True), ((800, 260), True)]
)
def test_that_the_overview_stands_where_there_is_room_for_it(state, make_panel, size, side_by_side):
    fill(state)
    panel = make_panel(*size)
    assert (panel.splitter.orientation() == Qt.Orientation.Horizontal) == side_by_side
    assert panel.overview.isVisible()


def test_that_a_person_can_give_the_overview_more_room_and_it_stays(qtbot, state, make_panel):
    run = fill(state)
    panel = make_panel()
    handle = panel.splitter.handle(1)
    before = panel.overview.height()
    middle = handle.rect().center()
    qtbot.mousePress(handle, LEFT, pos=middle)
    qtbot.mouseMove(handle, middle + QPoint(0, 60))
    qtbot.mouseRelease(handle, LEFT, pos=middle + QPoint(0, 60))
    dragged = panel.overview.height()
    assert dragged > before + 30
    state.set_overview(make_overview(run, CROSS))
    assert abs(panel.overview.height() - dragged) <= 2


def test_that_corner_and_caption_say_who_writes_and_who_looks(state, make_panel):
    run = fill(state)
    panel = make_panel()
    assert (panel.heat_map.content.row_word, panel.heat_map.content.column_word) == ("written", "read")
    state.set_head(HeadRef("encoder", 0, 0))
    state.set_attention(make_attention(run, state.head))
    assert (panel.heat_map.content.row_word, panel.heat_map.content.column_word) == ("looks", "looked at")
