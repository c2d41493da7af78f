from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt

from explorer.app.state import AppState
from explorer.core.records import CellReading, RunSnapshot
from explorer.core.selection import HeadRef, TokenRef
from explorer.panels.attention.weight_canvas import WeightCanvas
from explorer.panels.attention.weight_layout import WeightSizes, lay_out
from explorer.panels.attention.weight_reading import WeightHit
from explorer.panels.attention.weight_view import EMPTY
from explorer.panels.attention_panel import AttentionPanel
from explorer.theme import Theme
from tests.support import fill, make_run

LEFT = Qt.MouseButton.LeftButton


def make_cell(run: RunSnapshot, head: HeadRef, row: int, column: int, dimensions: int = 32) -> CellReading:
    """A reading whose numbers follow from each other, as the model's do."""
    rng = np.random.default_rng(row * 100 + column)
    count = len(run.attention_axes(head.kind)[1])
    query = rng.normal(size=dimensions).astype(np.float32)
    keys, values = rng.normal(size=(2, count, dimensions)).astype(np.float32)
    scores = keys @ query * np.float32(0.25)
    weights = np.exp(scores) / np.exp(scores).sum()
    return CellReading(
        head, row, column, query, keys[column], float(keys[column] @ query), 0.25, 0.0, None, False,
        scores, weights, values, weights @ values,
    )  # fmt: skip


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
        qtbot.mouseClick(panel.controls.views.button("inside"), LEFT)
        return panel

    return make


def point(canvas: WeightCanvas, strip: str, place: int, count: int, row: float = 0.5) -> QPoint:
    rect = canvas.strip_rect(strip)
    x = rect.left() + (place + 0.5) * rect.width() / count
    return QPointF(x, rect.top() + row * rect.height()).toPoint()


def read(qtbot, panel: AttentionPanel, where: QPoint) -> str:
    canvas = panel.weight_view.canvas
    qtbot.mouseMove(canvas, where)
    qtbot.waitUntil(lambda: canvas.hovered is not None)
    return panel.weight_view.reading.text


def test_that_without_a_selected_cell_the_view_says_how_to_get_one(state, make_panel):
    fill(state)
    panel = make_panel()
    assert panel.map_stack.currentWidget() is panel.weight_view
    assert panel.weight_view.content is None
    assert panel.weight_view._hint._label.text() == EMPTY
    assert panel.weight_view._hint.isVisible()


def test_that_before_the_first_step_the_panel_still_says_to_press_step(state, make_panel):
    fill(state, steps=0)
    assert make_panel().map_hint == "Press Step: the decoder has not taken a step yet."


def test_that_the_view_names_both_tokens_the_head_and_the_weight(state, make_panel):
    run = fill(state)
    panel = make_panel()
    cell = make_cell(run, state.head, 1, 3)
    state.set_cell(cell)
    assert panel.weight_view.heading.text == f"▁love → apprentissage  {cell.weight:.4f}"
    assert panel.facts == "cross · layer 2 · head 5 · row 1, column 3"
    assert not panel.readout.isVisible()


def test_that_the_way_back_to_the_matrix_shows_the_map_again(qtbot, state, make_panel):
    run = fill(state)
    panel = make_panel()
    state.set_cell(make_cell(run, state.head, 1, 3))
    qtbot.mouseClick(panel.controls.views.button("matrix"), LEFT)
    assert panel.map_stack.currentWidget() is panel.heat_map
    assert panel.heat_map.content is not None
    assert panel.readout.isVisible()
    assert panel.facts == "cross · layer 2 · head 5 · 4 × 7"
    qtbot.mouseClick(panel.controls.views.button("inside"), LEFT)
    assert panel.weight_view.content is not None


@pytest.mark.parametrize("strip", ["query", "key", "product"])
def test_that_hovering_a_dimension_reads_query_key_and_product_exactly(qtbot, state, make_panel, strip):
    run = fill(state)
    panel = make_panel()
    cell = make_cell(run, state.head, 1, 3)
    state.set_cell(cell)
    said = read(qtbot, panel, point(panel.weight_view.canvas, strip, 5, 32))
    numbers = said.removeprefix("dimension 5: ").replace("−", "-").replace("=", "×").split("×")
    expected = [cell.query[5], cell.key[5], cell.query[5] * cell.key[5]]
    np.testing.assert_array_equal(np.array(numbers, dtype=np.float32), expected)


def test_that_sorting_puts_the_largest_product_first_and_keeps_strips_aligned(qtbot, state, make_panel):
    run = fill(state)
    panel = make_panel()
    cell = make_cell(run, state.head, 1, 3)
    state.set_cell(cell)
    qtbot.mouseClick(panel.weight_view.order.button("sorted"), LEFT)
    canvas = panel.weight_view.canvas
    for place, dimension in enumerate(np.argsort(-cell.products, kind="stable").tolist()):
        for strip in ("query", "key", "product"):
            hit = canvas.hit(QPointF(point(canvas, strip, place, 32)))
            assert hit == WeightHit(strip, dimension)
    assert canvas.headings["dot"].endswith("sorted by product")


def test_that_hovering_a_key_reads_its_score_and_weight(qtbot, state, make_panel):
    run = fill(state)
    panel = make_panel()
    cell = make_cell(run, state.head, 1, 3)
    state.set_cell(cell)
    said = read(qtbot, panel, point(panel.weight_view.canvas, "weights", 4, 7)).replace("−", "-")
    label, numbers = said.split(": score ")
    score, weight = numbers.split(", weight ")
    assert label == "▁automatique"
    assert np.float32(score) == cell.row_scores[4]
    assert np.float32(weight) == cell.row_weights[4]


def test_that_hovering_values_and_mixture_reads_their_numbers(qtbot, state, make_panel):
    run = fill(state)
    panel = make_panel(900, 900)
    cell = make_cell(run, state.head, 1, 3)
    state.set_cell(cell)
    canvas = panel.weight_view.canvas
    said = read(qtbot, panel, point(canvas, "values", 9, 32, row=2.5 / 7)).replace("−", "-")
    value = said.split("value ")[1].split(", mixed in × ")
    assert np.float32(value[0]) == cell.values[2, 9]
    assert np.float32(value[1]) == cell.row_weights[2]
    said = read(qtbot, panel, point(canvas, "mixture", 30, 32)).replace("−", "-")
    assert np.float32(said.removeprefix("mixture, dimension 30: ")) == cell.output[30]


def test_that_hovering_a_step_explains_it(qtbot, state, make_panel):
    run = fill(state)
    panel = make_panel()
    state.set_cell(make_cell(run, state.head, 1, 3))
    canvas = panel.weight_view.canvas
    names = [term.name for term in canvas.terms]
    assert names == ["raw score", "scaling", "position bias", "mask", "score", "weight"]
    middle = canvas._layout.terms[1].center().toPoint()
    assert read(qtbot, panel, middle).startswith("scaling 0.25: ")


def test_that_leaving_the_picture_clears_the_reading(qtbot, state, make_panel):
    run = fill(state)
    panel = make_panel()
    state.set_cell(make_cell(run, state.head, 1, 3))
    read(qtbot, panel, point(panel.weight_view.canvas, "key", 5, 32))
    qtbot.mouseMove(panel.weight_view.order)
    qtbot.waitUntil(lambda: panel.weight_view.canvas.hovered is None)
    assert panel.weight_view.reading.text.startswith("Point at")


def test_that_more_dimensions_than_pixels_are_thinned_to_the_strongest(state, make_panel):
    run = fill(state)
    panel = make_panel(450, 400)
    cell = make_cell(run, state.head, 1, 3, dimensions=4096)
    state.set_cell(cell)
    canvas = panel.weight_view.canvas
    hit = canvas.hit(QPointF(point(canvas, "product", 0, 4000)))
    assert hit is not None
    assert hit.sharing > 1
    assert abs(cell.products[hit.index]) == np.abs(cell.products[: hit.sharing]).max()
    panel.grab()


def test_that_a_reading_of_a_longer_run_is_not_drawn_on_a_shorter_one(state, make_panel):
    run = fill(state)
    panel = make_panel()
    cell = make_cell(run, state.head, 3, 3)
    state.set_run(make_run(2))
    state.set_cell(cell)
    assert panel.weight_view.content is None


@pytest.mark.parametrize("scale", [1.0, 1.35])
@pytest.mark.parametrize("size", [(380, 260), (450, 460), (900, 700)])
def test_that_nothing_in_the_picture_overlaps(state, make_panel, theme, size, scale):
    theme.set_scale(scale)
    run = fill(state)
    panel = make_panel(*size)
    state.set_cell(make_cell(run, state.head, 1, 3))
    canvas = panel.weight_view.canvas
    layout = canvas._layout
    rects = [*layout.strips.values(), *layout.headings.values(), *layout.terms]
    for i, first in enumerate(rects):
        assert first.right() <= canvas.width() + 1
        assert first.bottom() <= canvas.height() + 1
        for second in rects[i + 1 :]:
            overlap = first.intersected(second)
            assert min(overlap.width(), overlap.height()) < 1.01


@pytest.mark.parametrize("columns", [1, 2])
def test_that_spare_height_goes_to_the_strips_and_is_never_exceeded(columns):
    sizes = WeightSizes(15, 30, 30, 3, 80, 50, (80.0,) * 6, 7)
    low, high = (lay_out(sizes, 800, height, columns=columns) for height in (0, 700))
    assert high.height == 700
    assert all(high.strips[name].height() > low.strips[name].height() for name in ("query", "weights"))
    assert max(rect.bottom() for rect in high.strips.values()) <= 700.01


def test_that_a_token_alone_stands_for_its_weight_on_itself():
    run = make_run(4)
    assert run.attention_cell("encoder", (TokenRef("source", 3),)) == (3, 3)
    assert run.attention_cell("cross", (TokenRef("source", 3),)) is None
    assert run.attention_cell("decoder", (TokenRef("generated", 1),)) is None
    decoder_only = make_run(4, family="decoder-only")
    assert decoder_only.attention_cell("decoder", (TokenRef("generated", 1),)) == (8, 8)
