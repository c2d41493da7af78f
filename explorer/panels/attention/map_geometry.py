"""Where a heat map's cells and labels stand; no painting."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QPointF, QRectF, QSizeF

from explorer.app.state import Emphasis
from explorer.panels.attention.map_content import MapHit

LabelMode = Literal["flat", "slanted", "vertical"]
SLANT_DEGREES = 40.0
_SIN, _COS = math.sin(math.radians(SLANT_DEGREES)), math.cos(math.radians(SLANT_DEGREES))
_ROW_LABEL_SHARE = 0.34
_COLUMN_LABEL_SHARE = 0.34
# Labels of one axis may stand this much of a line apart: pieces seldom fill the whole line.
_TIGHT = 0.82
_NICE_STRIDES = (1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000)


@dataclass(frozen=True, slots=True)
class MapMetrics:
    """Sizes in pixels that the font and the theme set.

    ``widest_cell`` and ``highest_cell`` keep a tiny map from becoming a few giant squares.
    ``marker`` is the room left of the row labels for the viewed step's mark; ``strip`` the room for
    sums on the right and at the bottom, empty without.
    """

    line: float
    gap: float
    widest_cell: float
    highest_cell: float
    marker: float
    strip: QSizeF = field(default_factory=lambda: QSizeF(0.0, 0.0))


@dataclass(frozen=True, eq=False)
class MapGeometry:
    """A heat map laid out in a given size.

    Attributes
    ----------
    view : QRectF
        Where cells are seen.
    cell : QSizeF
        Size of one cell, zoom included; below one pixel for large maps.
    origin : QPointF
        The column and row, fractions included, at the view's top-left corner.
    shape : tuple of (int, int)
        Rows and columns.
    mode : str
        How the column labels stand.
    row_label_width, column_label_length : float
        Longest room that one label has along its own direction.
    row_stride, column_stride : int
        Every how many rows and columns there is room for a label.
    """

    view: QRectF
    cell: QSizeF
    origin: QPointF
    shape: tuple[int, int]
    mode: LabelMode
    row_label_width: float
    column_label_length: float
    row_stride: int
    column_stride: int

    def cell_rect(self, row: int, column: int) -> QRectF:
        """Where a cell is, in or out of view."""
        return QRectF(self.column_left(column), self.row_top(row), self.cell.width(), self.cell.height())

    def row_rect(self, row: int) -> QRectF:
        """A row's band across the view."""
        return QRectF(self.view.left(), self.row_top(row), self.view.width(), self.cell.height())

    def column_rect(self, column: int) -> QRectF:
        """A column's band down the view."""
        return QRectF(self.column_left(column), self.view.top(), self.cell.width(), self.view.height())

    def row_top(self, row: float) -> float:
        """The y at which a row begins."""
        return self.view.top() + (row - self.origin.y()) * self.cell.height()

    def column_left(self, column: float) -> float:
        """The x at which a column begins."""
        return self.view.left() + (column - self.origin.x()) * self.cell.width()

    @property
    def visible_rows(self) -> range:
        """Rows of which something is in view."""
        return _visible(self.origin.y(), self.view.height() / self.cell.height(), self.shape[0])

    @property
    def visible_columns(self) -> range:
        """Columns of which something is in view."""
        return _visible(self.origin.x(), self.view.width() / self.cell.width(), self.shape[1])

    def hit(self, x: float, y: float) -> MapHit | None:
        """What is at a point: a cell, a row's label, a column's label, or None."""
        view = self.view
        if view.contains(x, y):
            return self._inside(self._row_at(y), self._column_at(x))
        if x < view.left() and view.top() <= y < view.bottom():
            return self._inside(self._row_at(y), None)
        if y < view.top():
            # A slanted label leans to the right the higher it reaches.
            foot = x - (view.top() - y) * _COS / _SIN if self.mode == "slanted" else x
            if view.left() <= foot < view.right():
                return self._inside(None, self._column_at(foot))
        return None

    def _row_at(self, y: float) -> int:
        return math.floor((y - self.view.top()) / self.cell.height() + self.origin.y())

    def _column_at(self, x: float) -> int:
        return math.floor((x - self.view.left()) / self.cell.width() + self.origin.x())

    def _inside(self, row: int | None, column: int | None) -> MapHit | None:
        rows, columns = self.shape
        if (row is not None and not 0 <= row < rows) or (column is not None and not 0 <= column < columns):
            return None
        return MapHit(row, column)


def lay_out(
    size: QSizeF,
    row_lengths: npt.NDArray[np.float64],
    column_lengths: npt.NDArray[np.float64],
    metrics: MapMetrics,
    zoom: float = 1.0,
    origin: QPointF | None = None,
) -> MapGeometry:
    """Lay a map out in ``size``.

    At zoom 1 all of it fits. Column labels stand level where every one of them fits above its
    column, else slanted where neighbours clear each other, else upright, thinned out as needed.

    Parameters
    ----------
    size : QSizeF
        Room in pixels.
    row_lengths, column_lengths : numpy.ndarray
        (rows,) and (columns,) lengths of the labels in pixels; neither is empty.
    metrics : MapMetrics
        What the font and theme set.
    zoom : float
        1 and more.
    origin : QPointF or None
        Column and row wanted at the view's top-left corner; kept within the map.
    """
    rows, columns = len(row_lengths), len(column_lengths)
    row_label = min(float(row_lengths.max()), size.width() * _ROW_LABEL_SHARE)
    left = metrics.marker + row_label + metrics.gap
    room = max(size.width() - left - 1.0 - metrics.strip.width(), 8.0)
    longest = float(column_lengths.max())
    cell = min(room / columns, metrics.widest_cell) * zoom

    # Column labels may have half, where rows are still a line high, and a third in any case.
    spare = min(size.height() * 0.5, size.height() - metrics.strip.height() - metrics.line * rows)
    label_room = max(metrics.line, size.height() * _COLUMN_LABEL_SHARE, spare) - metrics.gap
    mode: LabelMode
    right = 0.0
    if longest + metrics.gap <= cell:
        mode, label, top = "flat", longest, metrics.line
    else:
        label = min(longest, (label_room - metrics.line * _COS) / _SIN)
        reach = np.minimum(column_lengths, label) * _COS + metrics.line * _SIN * 0.5
        # What the labels of the last columns need to the right of the map; found by two rounds.
        for _ in range(2):
            width = min((room - right) / columns, metrics.widest_cell)
            ends = (np.arange(columns) + 0.5) * width + reach
            right = max(0.0, float(ends.max()) - width * columns) if zoom == 1.0 else float(reach.max())
            right = min(right, room * 0.5)
        cell = min((room - right) / columns, metrics.widest_cell) * zoom
        if cell * _SIN >= metrics.line:
            mode, top = "slanted", label * _SIN + metrics.line * _COS
        else:
            right, label = 0.0, min(longest, label_room)
            mode, top = "vertical", label
            cell = min(room / columns, metrics.widest_cell) * zoom
    top += metrics.gap
    room -= right
    height = max(size.height() - top - 1.0 - metrics.strip.height(), 4.0)
    tall = min(height / rows, metrics.highest_cell) * zoom
    view = QRectF(left, top, min(room, cell * columns), min(height, tall * rows))
    wanted = origin or QPointF(0.0, 0.0)
    return MapGeometry(
        view=view,
        cell=QSizeF(cell, tall),
        origin=QPointF(
            min(max(wanted.x(), 0.0), max(0.0, columns - view.width() / cell)),
            min(max(wanted.y(), 0.0), max(0.0, rows - view.height() / tall)),
        ),
        shape=(rows, columns),
        mode=mode,
        row_label_width=row_label,
        column_label_length=label,
        row_stride=label_stride(_TIGHT * metrics.line / tall),
        column_stride=label_stride(metrics.line / (cell * (_SIN if mode == "slanted" else 1.0)))
        if mode != "flat"
        else 1,
    )


def labelled(visible: range, stride: int, emphasis: Mapping[int, Emphasis]) -> list[int]:
    """Rows or columns in view that get a label, strongest emphasis last.

    Those that are pointed at or selected always do; of the others every ``stride``-th, counted from
    index 0 so that labels stay put while panning, where none of the former stands too near.
    """
    prominent = [i for i, how in emphasis.items() if how > Emphasis.SAME and i in visible]
    first = -(-visible.start // stride) * stride
    others = [i for i in range(first, visible.stop, stride) if all(abs(i - j) >= stride for j in prominent)]
    return others + sorted(prominent, key=lambda i: emphasis[i])


def _visible(origin: float, count: float, total: int) -> range:
    return range(max(0, math.floor(origin)), min(total, math.ceil(origin + count - 1e-9)))


def label_stride(cells_per_label: float) -> int:
    """Every how many tokens there is room for a label: the next round number of ``cells_per_label``."""
    need = max(1, math.ceil(cells_per_label - 1e-9))
    return next((stride for stride in _NICE_STRIDES if stride >= need), need)
