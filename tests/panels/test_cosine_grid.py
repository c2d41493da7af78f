"""The cosine matrix as a heat map, painted at any number of tokens."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtGui import QPainter
from pytestqt.qtbot import QtBot

from explorer.colormaps import heat_table
from explorer.panels.embedding.cosine_grid import CosineGrid
from explorer.theme import Theme


@pytest.fixture
def grid(qtbot: QtBot, theme: Theme) -> CosineGrid:
    grid = CosineGrid(theme)
    qtbot.addWidget(grid)
    grid.resize(900, 640)
    return grid


def cosines(count: int) -> np.ndarray:
    rows = np.random.default_rng(5).normal(size=(count, 4))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    matrix = rows @ rows.T
    matrix[2, :] = matrix[:, 2] = np.nan  # a vector of zeros has no direction
    return matrix


@pytest.mark.parametrize("count", [4, 12, 60])
def test_that_every_cell_has_the_colour_of_its_cosine(grid: CosineGrid, theme: Theme, count: int) -> None:
    matrix = cosines(count)
    grid.show_matrix([(f"t{i}", "source") for i in range(count)], matrix)
    picture = grid.grab().toImage()
    table = heat_table(theme.palette.heat_low, theme.palette.heat_high)
    for row, column in ((0, 0), (0, count - 1), (count - 1, 1), (2, 2), (3, 0)):
        cell = grid.cell_center(row, column)
        if count < 60:
            cell.setY(cell.y() - 12)  # above the number
        value = np.nan_to_num(matrix[row, column])
        expected = table[round(float(np.clip(value, 0.0, 1.0)) * 255)]
        color = picture.pixelColor(cell.toPoint())
        assert (color.red(), color.green(), color.blue()) == tuple(expected)


def test_that_many_tokens_are_painted_as_one_picture_and_not_cell_by_cell(
    grid: CosineGrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 400
    grid.show_matrix([("token", "source")] * count, np.nan_to_num(cosines(count)))
    calls: list[str] = []
    for name in ("drawImage", "fillRect", "drawText", "drawLine", "drawRect"):
        original = getattr(QPainter, name)

        def counted(self: QPainter, *rest: object, name: str = name, original: object = original) -> object:
            calls.append(name)
            return original(self, *rest)  # type: ignore[operator]

        monkeypatch.setattr(QPainter, name, counted)
    grid.grab()
    assert calls.count("drawImage") == 1
    assert len(calls) < count
