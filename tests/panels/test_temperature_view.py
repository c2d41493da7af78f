"""The grid of temperatures in the softmax panel, by hand."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from explorer.app.state import AppState
from explorer.core.sampling import SamplingParams
from explorer.core.temperature_grid import GridRow, plan_grid
from explorer.panels.softmax_panel import SoftmaxPanel
from explorer.theme import Theme
from tests.support import TEXT, fill

IDS, SPANS = (37, 701, 1), (("", "I"), ("I", "I love"), ("I love", "I love"))
HOSTILE = (("", "I"), ("I", "I <b>"), ("I <b>", "I <b>"))


@pytest.fixture
def panel(qtbot: QtBot, state: AppState, theme: Theme) -> SoftmaxPanel:
    panel = SoftmaxPanel(state, theme)
    qtbot.addWidget(panel)
    panel.resize(1200, 420)
    panel.show()
    fill(state)
    qtbot.waitExposed(panel)
    qtbot.mouseClick(panel.chooser.button("grid"), Qt.MouseButton.LeftButton)
    QApplication.processEvents()
    return panel


def fill_grid(state: AppState, *, text: str = TEXT, done: bool = True) -> None:
    grid = plan_grid(text, SamplingParams(1.0, 40, seed=5), (0.0, 1.0, 2.0))
    grid = grid.with_row(0, GridRow(grid.rows[0].params, IDS, SPANS, "I love", "end"))
    grid = grid.with_row(1, GridRow(grid.rows[1].params, (37, 9, 1), HOSTILE, "I <b>", "end"))
    if done:
        grid = grid.with_row(2, GridRow(grid.rows[2].params, IDS, SPANS, "I love", "end"))
    state.temperatures.set_grid(grid)
    QApplication.processEvents()


def test_that_a_typed_list_is_asked_for(qtbot: QtBot, state: AppState, panel: SoftmaxPanel) -> None:
    view = panel.temperatures
    assert view.hint.isVisible()
    view.entry.selectAll()
    qtbot.keyClicks(view.entry, "0; 0,3; 2")
    with qtbot.waitSignal(state.temperatures.grid_requested) as asked:
        qtbot.keyClick(view.entry, Qt.Key.Key_Return)
    assert asked.args == [(0.0, 0.3, 2.0)]
    with qtbot.waitSignal(state.temperatures.grid_requested):
        qtbot.mouseClick(view.button, Qt.MouseButton.LeftButton)


@pytest.mark.parametrize(
    ("typed", "source", "says"),
    [("warm", TEXT, "“warm” is no temperature"), ("1", "  ", "The text is empty")],
)
def test_that_what_cannot_be_generated_is_said_once_and_clearly(
    qtbot: QtBot, state: AppState, panel: SoftmaxPanel, typed: str, source: str, says: str
) -> None:
    state.set_source_text(source)
    panel.temperatures.entry.setText(typed)
    with qtbot.assertNotEmitted(state.temperatures.grid_requested):
        qtbot.keyClick(panel.temperatures.entry, Qt.Key.Key_Return)
    assert state.notice is not None
    assert says in state.notice.text
    assert panel.temperatures.entry.text() == typed


def test_that_rows_show_what_came_out_and_where_it_leaves_the_greedy_one(
    state: AppState, panel: SoftmaxPanel
) -> None:
    fill_grid(state, done=False)
    state.temperatures.set_working(True)
    greedy, warm, hot = panel.temperatures.rows
    assert not panel.temperatures.hint.isVisible()
    assert [row.temperature.text() for row in (greedy, warm, hot)] == ["greedy", "T 1", "T 2"]
    assert greedy.count.text() == "3 tokens"
    assert warm.count.text() == "3 tokens · differs from token 1"
    # What the model wrote is text, whatever it looks like.
    assert "&lt;b&gt;" in warm.text_label.text()
    assert "underline" in warm.text_label.text()
    assert "underline" not in greedy.text_label.text()
    assert [row.isEnabled() for row in (greedy, warm, hot)] == [True, True, False]
    assert panel.temperatures.facts.text() == "2 of 3 · top-k 40 · seed 5"
    assert panel.temperatures.button.text() == "Stop"
    fill_grid(state)
    state.temperatures.set_working(False)
    assert hot.count.text() == "3 tokens · the same"
    assert panel.temperatures.facts.text() == "top-k 40 · seed 5"


def test_that_a_row_without_text_says_why(state: AppState, panel: SoftmaxPanel) -> None:
    grid = plan_grid(TEXT, SamplingParams(), (0.0,))
    reason = "the model has no <language-model> head"
    state.temperatures.set_grid(grid.with_row(0, GridRow(grid.rows[0].params, (), (), "", reason)))
    assert (
        "nothing: the model has no &lt;language-model&gt; head"
        in panel.temperatures.rows[0].text_label.text()
    )


def test_that_stop_is_passed_on(qtbot: QtBot, state: AppState, panel: SoftmaxPanel) -> None:
    fill_grid(state, done=False)
    state.temperatures.set_working(True)
    with qtbot.waitSignal(state.temperatures.stop_requested):
        qtbot.mouseClick(panel.temperatures.button, Qt.MouseButton.LeftButton)
    state.temperatures.set_working(False)
    assert panel.temperatures.facts.text().startswith("stopped after 2 of 3")


@pytest.mark.parametrize("how", ["mouse", "enter", "space"])
def test_that_taking_a_row_sets_its_settings_and_generates_anew(
    qtbot: QtBot, state: AppState, panel: SoftmaxPanel, how: str
) -> None:
    fill_grid(state)
    row = panel.temperatures.rows[1]
    asked: list[str] = []
    state.reset_requested.connect(lambda: asked.append("reset"))
    state.finish_requested.connect(lambda: asked.append("finish"))
    if how == "mouse":
        qtbot.mouseClick(row, Qt.MouseButton.LeftButton)
    else:
        qtbot.keyClick(row, Qt.Key.Key_Return if how == "enter" else Qt.Key.Key_Space)
    assert state.sampling == SamplingParams(1.0, 40, seed=5)
    assert asked == ["reset", "finish"]


def test_that_rows_of_an_earlier_text_say_so(state: AppState, panel: SoftmaxPanel) -> None:
    fill_grid(state)
    assert "earlier" not in panel.temperatures.facts.text()
    state.set_source_text(TEXT + " Et toi ?")
    assert "of an earlier text" in panel.temperatures.facts.text()


def test_that_a_long_row_wraps_and_nothing_is_wider_than_the_view(
    qtbot: QtBot, state: AppState, panel: SoftmaxPanel
) -> None:
    text = "word " * 120
    grid = plan_grid(TEXT, SamplingParams(), (0.0, 1.0))
    for index in range(2):
        grid = grid.with_row(index, GridRow(grid.rows[index].params, (1,), (("", text),), text, "end"))
    state.temperatures.set_grid(grid)
    qtbot.wait(50)
    row = panel.temperatures.rows[0]
    assert row.height() > 3 * row.text_label.fontMetrics().height()
    assert row.width() <= panel.temperatures.width()
    assert row.text_label.height() >= row.text_label.heightForWidth(row.text_label.width())


@pytest.mark.parametrize("width", [430, 760, 1200])
def test_that_a_narrow_row_leaves_its_text_room(
    qtbot: QtBot, state: AppState, panel: SoftmaxPanel, width: int
) -> None:
    panel.resize(width, 500)
    fill_grid(state)
    qtbot.wait(50)
    content = panel.controls.parentWidget()
    assert content is not None
    assert content.width() <= panel.width()
    row = panel.temperatures.rows[1]
    assert row.width() <= panel.temperatures.width()
    text, count = row.text_label.geometry(), row.count.geometry()
    assert text.width() >= 100
    assert row.rect().contains(text)
    assert row.rect().contains(count)
    assert not text.intersects(count)


# -- the seed, which the grid and the draws share ------------------------------------------------------


def type_seed(qtbot: QtBot, panel: SoftmaxPanel, text: str) -> None:
    entry = panel.controls.actions_row.seed
    entry.setFocus()
    entry.selectAll()
    qtbot.keyClick(entry, Qt.Key.Key_Delete)
    qtbot.keyClicks(entry, text)
    qtbot.keyClick(entry, Qt.Key.Key_Return)


def test_that_a_seed_is_typed_and_taken_away(qtbot: QtBot, state: AppState, panel: SoftmaxPanel) -> None:
    state.set_sampling(SamplingParams(0.7, 40))
    type_seed(qtbot, panel, "17")
    assert state.sampling == SamplingParams(0.7, 40, seed=17)
    type_seed(qtbot, panel, "")
    assert state.sampling == SamplingParams(0.7, 40)
    assert panel.controls.actions_row.seed.placeholderText() == "random"
    state.set_sampling(SamplingParams(seed=4_294_967_295))
    assert panel.controls.actions_row.seed.text() == "4294967295"


@pytest.mark.parametrize("typed", ["-1", "4294967296", "1.5", "abc", "9" * 400])
def test_that_no_other_seed_is_taken(qtbot: QtBot, state: AppState, panel: SoftmaxPanel, typed: str) -> None:
    state.set_sampling(SamplingParams(seed=3))
    type_seed(qtbot, panel, typed)
    assert state.sampling.seed == 3
    assert panel.controls.actions_row.seed.text() == "3"
    assert state.notice is not None
    assert "from 0 to 4294967295" in state.notice.text
    assert len(state.notice.text) < 140
