from __future__ import annotations

from pytestqt.qtbot import QtBot

from explorer.panels.widgets.reading_line import ReadingLine
from explorer.theme import Theme


def test_that_no_number_is_ever_cut_in_the_middle(qtbot: QtBot, theme: Theme) -> None:
    line = ReadingLine("line")
    qtbot.addWidget(line)
    text = "A: Σ ln p −1.41 · p 0.2437 · I love machine learning."
    line.setText(text)
    whole = set(text.split(" "))
    for width in range(60, 700, 7):
        line.resize(width, 20)
        words = line.shown.split(" ")
        assert line.shown == text or words[-1] == "…"
        assert set(words) - {"…"} <= whole
        line.grab()
    assert line.shown == text
