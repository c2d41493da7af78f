"""From a click on a cell to how its weight came about, in the whole window."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPushButton
from pytestqt.qtbot import QtBot

from explorer.commands.window import Parts
from explorer.panels.attention.heat_map import HeatMap
from explorer.panels.attention.weight_view import WeightView
from tests.ui.conftest import settle

LEFT = Qt.MouseButton.LeftButton


def test_that_a_clicked_cell_is_opened_and_follows_the_opened_head(
    open_window: Callable[..., Parts], qtbot: QtBot
) -> None:
    parts = open_window()
    parts.state.finish_requested.emit()
    settle(qtbot, parts)
    parts.window.findChild(QPushButton, "attention_kind_cross").click()
    settle(qtbot, parts)
    heat_map = parts.window.findChild(HeatMap)
    qtbot.mouseClick(heat_map, LEFT, pos=heat_map.geometry_now().cell_rect(3, 3).center().toPoint())
    settle(qtbot, parts)
    qtbot.mouseClick(parts.window.findChild(QPushButton, "attention_view_inside"), LEFT)
    view = parts.window.findChild(WeightView)
    assert view.isVisible()
    assert (view.content.query.piece, view.content.key.piece) == ("▁learning", "apprentissage")
    assert view.content.cell.weight == pytest.approx(float(parts.state.attention.weights[3, 3]), abs=1e-6)
    parts.state.set_head(type(parts.state.head)("cross", 2, 7))
    settle(qtbot, parts)
    assert view.content.cell.head.layer == 2
    assert view.heading.text == f"▁learning → apprentissage  {parts.state.attention.weights[3, 3]:.4f}"
