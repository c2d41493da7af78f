"""What a hand does with the softmax panel, and what a step's numbers are by float64."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QStyle, QStyleOptionSlider
from pytestqt.qtbot import QtBot

from explorer.app.state import AppState
from explorer.core.records import StepRecord
from explorer.core.sampling import SamplingParams
from explorer.panels.softmax.labelled_slider import LabelledSlider
from explorer.panels.softmax_panel import SoftmaxPanel

OPEN = SamplingParams()


def slider(panel: SoftmaxPanel, name: str) -> LabelledSlider:
    return panel.controls.sliders[name]


def type_into(qtbot: QtBot, panel: SoftmaxPanel, name: str, text: str) -> None:
    entry = slider(panel, name).entry
    entry.setFocus()
    entry.selectAll()
    qtbot.keyClicks(entry, text)
    qtbot.keyClick(entry, Qt.Key.Key_Return)


def handle(panel: SoftmaxPanel, name: str) -> QPoint:
    widget = slider(panel, name).slider
    option = QStyleOptionSlider()
    widget.initStyleOption(option)
    control, part = QStyle.ComplexControl.CC_Slider, QStyle.SubControl.SC_SliderHandle
    return widget.style().subControlRect(control, option, part, widget).center()


def bar_point(panel: SoftmaxPanel, rank: int) -> QPoint:
    bar = panel.bars.content.bars[rank]
    column = panel.bars.bar_rect(bar.token_id)
    assert column is not None
    return column.center().toPoint()


def reference(step: StepRecord, temperature: float = 1.0) -> np.ndarray:
    scores = step.scores.astype(np.float64) / temperature
    exponentials = np.exp(scores - scores.max())
    return exponentials / exponentials.sum()


def current_step(state: AppState) -> StepRecord:
    assert state.step is not None
    return state.step
