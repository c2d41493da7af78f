"""Finding heads by what they do: the filter over the overview, and the mean over chosen heads."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QAction, QHelpEvent
from PySide6.QtWidgets import QApplication, QToolTip

from explorer.app.state import AppState
from explorer.core.head_measures import measure_named
from explorer.core.selection import HeadRef
from explorer.panels.attention_panel import AttentionPanel
from explorer.theme import Theme
from tests.support import fill, make_attention, make_overview, make_run

LEFT = Qt.MouseButton.LeftButton
CONTROL = Qt.KeyboardModifier.ControlModifier


@pytest.fixture
def panel(qtbot, state: AppState, theme: Theme) -> AttentionPanel:
    fill(state)
    panel = AttentionPanel(state, theme)
    qtbot.addWidget(panel)
    panel.resize(900, 700)
    panel.show()
    qtbot.waitExposed(panel)
    return panel


@pytest.fixture
def bar(qtbot, panel: AttentionPanel):
    qtbot.mouseClick(panel.controls.filter_button, LEFT)
    return panel.chooser.filter_bar


def values_of(state: AppState, name: str) -> np.ndarray:
    values = measure_named(state.overview.measures, name)
    assert values is not None
    return values


def type_threshold(qtbot, bar, text: str) -> None:
    bar.entry.setFocus()
    bar.entry.selectAll()
    qtbot.keyClicks(bar.entry, text)
    qtbot.keyClick(bar.entry, Qt.Key.Key_Return)


def choose_measure(bar, name: str) -> None:
    index = bar.measure_box.findData(name)
    bar.measure_box.setCurrentIndex(index)
    bar.measure_box.activated.emit(index)


def passing(panel: AttentionPanel) -> set[tuple[int, int]]:
    layers, heads = panel.overview.counts
    return {(i, j) for i in range(layers) for j in range(heads) if panel.overview.passes((i, j))}


def expected(mask: np.ndarray) -> set[tuple[int, int]]:
    return {(int(i), int(j)) for i, j in np.argwhere(mask)}


def test_that_the_filter_begins_in_the_middle_and_counts_the_heads_that_pass(state, panel, bar):
    values = values_of(state, "entropy")
    assert bar.isVisible()
    assert bar.filter.threshold == np.median(values)
    assert passing(panel) == expected(values >= np.median(values))
    assert bar.count.text() == "bits · 12 of 24"


def test_that_a_typed_number_and_the_relation_decide_which_heads_pass(qtbot, state, panel, bar):
    choose_measure(bar, "to special tokens")
    values = values_of(state, "to special tokens")
    type_threshold(qtbot, bar, "0,15")
    assert passing(panel) == expected(values >= 0.15)
    assert bar.count.text() == f"{(values >= 0.15).sum()} of 24"
    qtbot.mouseClick(bar.relation_button, LEFT)
    assert passing(panel) == expected(values <= 0.15)
    assert bar.relation_button.text() == "≤"
    type_threshold(qtbot, bar, "nonsense")
    assert bar.entry.text() == "0.15"
    assert passing(panel) == expected(values <= 0.15)


def test_that_the_ends_of_the_slider_are_the_smallest_and_largest_value_themselves(qtbot, state, panel, bar):
    values = values_of(state, "entropy")
    bar.slider.setFocus()
    qtbot.keyClick(bar.slider, Qt.Key.Key_Home)
    assert len(passing(panel)) == 24
    qtbot.keyClick(bar.slider, Qt.Key.Key_End)
    assert passing(panel) == expected(values == values.max())


def test_that_heads_that_do_not_pass_are_drawn_pale(qtbot, panel, bar):
    qtbot.keyClick(bar.slider, Qt.Key.Key_End)
    (kept,) = passing(panel)
    other = (kept[0], (kept[1] + 1) % 8)
    QApplication.processEvents()
    filtered = [darkness(panel, place) for place in (other, kept)]
    qtbot.mouseClick(panel.controls.filter_button, LEFT)
    assert not bar.isVisible()
    # The bar's room went to the thumbnails, so that shades are compared, not pixels.
    QApplication.processEvents()
    whole = [darkness(panel, place) for place in (other, kept)]
    assert filtered[0] < 0.5 * whole[0]
    assert filtered[1] > 0.8 * whole[1]


def darkness(panel: AttentionPanel, place: tuple[int, int]) -> float:
    """How far a thumbnail is from white, on average."""
    rect = panel.overview.cell_rect(*place).toRect().adjusted(3, 3, -3, -3)
    image = panel.overview.grab(rect).toImage()
    shades = [
        image.pixelColor(x, y).lightnessF() for x in range(image.width()) for y in range(image.height())
    ]
    return 1.0 - sum(shades) / len(shades)


def test_that_the_filter_stays_while_stepping_and_applies_to_the_new_numbers(qtbot, state, panel, bar):
    type_threshold(qtbot, bar, "1.2")
    run = make_run(6)
    state.set_run(run)
    state.set_overview(make_overview(run, state.head))
    assert bar.filter.threshold == 1.2
    values = values_of(state, "entropy")
    assert passing(panel) == expected(values >= 1.2)
    assert bar.count.text() == f"bits · {(values >= 1.2).sum()} of 24"


def test_that_with_an_order_those_that_pass_come_first(qtbot, state, panel, bar):
    type_threshold(qtbot, bar, "1.2")
    panel.findChild(QAction, "attention_order_to_the_first_token").trigger()
    first = values_of(state, "to the first token")
    kept = values_of(state, "entropy") >= 1.2
    layer, head = max(expected(kept), key=lambda place: first[place])
    assert panel.overview.cell_rect(layer, head).left() == 0
    order = [panel.overview._place(divmod(slot, 8)) for slot in range(24)]
    assert set(order[: kept.sum()]) == expected(kept)
    assert all(
        first[order[i]] >= first[order[i + 1]] for i in range(23) if kept[order[i]] == kept[order[i + 1]]
    )


def test_that_a_measure_that_a_kind_has_not_got_filters_nothing_and_says_so(qtbot, state, panel, bar):
    choose_measure(bar, "diagonal")
    assert len(passing(panel)) < 24
    run = state.run
    state.set_head(HeadRef("encoder", 0, 0))
    state.set_overview(make_overview(run, state.head))
    assert len(passing(panel)) == 24
    assert bar.count.text() == "not measured on these maps"
    assert not bar.slider.isEnabled()
    state.set_head(HeadRef("cross", 0, 0))
    state.set_overview(make_overview(run, state.head))
    assert len(passing(panel)) < 24


def test_that_a_tooltip_says_when_its_head_does_not_pass(qtbot, state, panel, bar):
    out = next(place for place in ((i, j) for i in range(3) for j in range(8)) if place not in passing(panel))
    where = panel.overview.cell_rect(*out).center().toPoint()
    QApplication.sendEvent(
        panel.overview, QHelpEvent(QEvent.Type.ToolTip, where, panel.overview.mapToGlobal(where))
    )
    assert "does not pass the filter" in QToolTip.text()
    assert f"entropy: {values_of(state, 'entropy')[out]:.4f} bits" in QToolTip.text()
    QToolTip.hideText()


def test_that_before_the_first_step_the_filter_waits_for_something_to_measure(qtbot, state, theme):
    fill(state, 0)
    panel = AttentionPanel(state, theme)
    qtbot.addWidget(panel)
    panel.resize(900, 700)
    panel.show()
    qtbot.mouseClick(panel.controls.filter_button, LEFT)
    assert panel.chooser.filter_bar.count.text() == "nothing to measure yet"
    run = make_run(3)
    state.set_run(run)
    state.set_overview(make_overview(run, state.head))
    assert panel.chooser.filter_bar.count.text() == "bits · 12 of 24"


# -- the mean over chosen heads -----------------------------------------------------------------------


def pick(qtbot, panel: AttentionPanel, *places: tuple[int, int]) -> None:
    for place in places:
        where = panel.overview.cell_rect(*place).center().toPoint()
        qtbot.mouseClick(panel.overview, LEFT, CONTROL, pos=where)


def answer(state: AppState) -> None:
    """What the controller would: the mean of the marked heads, here of the overview's whole maps."""
    places = state.marked.places
    assert state.summary == "chosen"
    made = make_attention(state.run, state.head)
    weights = np.mean([state.overview.weights[place] for place in places], axis=0, dtype=np.float32)
    state.set_attention(
        dataclasses.replace(
            made, weights=weights, summary="chosen", heads=len(places), places=tuple(sorted(places))
        )
    )


def test_that_marked_heads_can_be_seen_as_their_mean_and_side_by_side_again(qtbot, state, panel):
    assert not panel.controls.together.isVisible()
    pick(qtbot, panel, (0, 1), (1, 4))
    assert panel.map_stack.currentWidget() is panel.compared_maps
    qtbot.mouseClick(panel.controls.together.button("their mean"), LEFT)
    assert state.summary == "chosen"
    answer(state)
    assert panel.map_stack.currentWidget() is panel.heat_map
    assert panel.facts == "cross · mean of 3 heads · 0·1, 1·4, 2·5 · 4 × 7"
    np.testing.assert_array_equal(panel.heat_map.content.weights, state.attention.weights)
    assert panel.overview._marked == ((2, 5), (0, 1), (1, 4))
    qtbot.mouseClick(panel.controls.together.button("side by side"), LEFT)
    assert panel.map_stack.currentWidget() is panel.compared_maps


def test_that_any_number_of_heads_joins_the_mean_and_a_click_ends_it(qtbot, state, panel):
    pick(qtbot, panel, (0, 1))
    panel.findChild(QAction, "attention_draw_chosen").trigger()
    pick(qtbot, panel, (0, 2), (0, 3), (0, 4), (1, 0), (1, 1))
    assert len(state.marked.places) == 7
    answer(state)
    assert panel.facts == "cross · mean of 7 heads · chosen · 4 × 7"
    qtbot.mouseClick(panel.controls.together.button("side by side"), LEFT)
    assert panel.facts == "cross · the last 4 of 7 marked heads side by side"
    qtbot.mouseClick(panel.overview, LEFT, pos=panel.overview.cell_rect(0, 7).center().toPoint())
    assert (state.marked.places, state.summary, state.head) == ((), "head", HeadRef("cross", 0, 7))
    assert not panel.controls.together.isVisible()
    assert not panel.findChild(QAction, "attention_draw_chosen").isEnabled()


def test_that_the_heads_that_pass_the_filter_become_the_chosen_ones(qtbot, state, panel, bar):
    qtbot.mouseClick(bar.mark_button, LEFT)
    assert state.summary == "chosen"
    assert set(state.marked.places) == passing(panel)
    answer(state)
    assert panel.facts == "cross · mean of 12 heads · chosen · 4 × 7"


def test_that_ctrl_a_takes_the_mean_of_all_heads(qtbot, state, panel):
    panel.overview.setFocus()
    qtbot.keyClick(panel.overview, Qt.Key.Key_A, CONTROL)
    assert state.summary == "chosen"
    assert len(state.marked.places) == 24


def test_that_another_kind_drops_the_marks(qtbot, state, panel):
    pick(qtbot, panel, (0, 1))
    qtbot.mouseClick(panel.controls.together.button("their mean"), LEFT)
    qtbot.mouseClick(panel.controls.kinds.button("encoder"), LEFT)
    assert (state.marked.places, state.summary) == ((), "head")


def test_that_a_file_of_a_mean_names_its_heads(qtbot, state, panel):
    pick(qtbot, panel, (0, 1))
    qtbot.mouseClick(panel.controls.together.button("their mean"), LEFT)
    answer(state)
    written = np.load(io.BytesIO(panel.export("npz")))
    assert int(written["head"]) == -1
    np.testing.assert_array_equal(written["heads"], [(0, 1), (2, 5)])
    assert panel._drawn.file_name == "attention-cross-mean-of-2-heads"
