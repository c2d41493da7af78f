from __future__ import annotations

from pytestqt.qtbot import QtBot

from explorer.app.state import Activity, AppState
from explorer.panels.bars.top_bar import TopBar
from explorer.theme import Theme
from tests.support import fill


def test_that_run_becomes_stop_by_the_kind_of_work_and_not_by_its_words(
    qtbot: QtBot, state: AppState, theme: Theme
) -> None:
    bar = TopBar(state, theme, ("fr-en",))
    qtbot.addWidget(bar)
    fill(state)
    state.set_activity(Activity("Generating a picture …"))
    assert bar.run_button.text() == "Run"
    state.set_activity(Activity("Going on …", kind="generating"))
    assert bar.run_button.text() == "Stop"
    with qtbot.waitSignal(state.stop_requested):
        bar.run_button.click()
    state.set_activity(None)
    assert bar.run_button.text() == "Run"
