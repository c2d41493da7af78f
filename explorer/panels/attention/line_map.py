"""One attention map as lines between two columns of tokens: queries on the left, keys on the right.

Cost on two shared cores: a new map of 1,024 x 1,024 weights takes about 50 ms from arrival to painted
(labels, the strongest lines, drawing), a zoom or pan about 30 ms for the 1,000 strongest lines, a
pointer move 10 ms for the lines of one token.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QLineF, QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QPainter, QPen
from PySide6.QtWidgets import QWidget

from explorer import colormaps
from explorer.app.state import Emphasis
from explorer.panels.attention.map_content import AxisToken, MapEmphasis, MapHit
from explorer.panels.attention.map_geometry import label_stride, labelled
from explorer.panels.attention.map_view import MapView
from explorer.theme import Theme

MOST_LINES = 1000
_LABEL_SHARE = 0.3
_REACH_PIXELS = 5.0
_FADED_ALPHA = 215


class LineMap(MapView):
    """A bipartite picture of a map: the stronger the weight, the darker and thicker its line.

    Pointing at a token leaves only its own lines; pointing at a line reads its weight. Of a large map
    only the `MOST_LINES` strongest lines are drawn, which `note` says; those of one token are all drawn.
    """

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(theme, parent)
        self.setObjectName("attention_line_map")
        self.setAccessibleName("Attention as lines")
        self._zoom = 1.0
        self._top = 0.0
        self._label_widths = (0.0, 0.0)
        self._strongest: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]] | None = None

    # -- MapView --------------------------------------------------------------------------------

    @property
    def note(self) -> str:  # noqa: D102
        if self.content is None or self.content.weights.size <= MOST_LINES:
            return ""
        return f"the {MOST_LINES:,} strongest of {self.content.weights.size:,} lines"

    def hit(self, x: float, y: float) -> MapHit | None:  # noqa: D102
        if self.content is None:
            return None
        left, right = self._ends()
        if x <= left:
            row = self._index_at(y, len(self.content.rows))
            return None if row is None else MapHit(row=row)
        if x >= right:
            column = self._index_at(y, len(self.content.columns))
            return None if column is None else MapHit(column=column)
        rows, columns = self._strongest_lines()
        if self.hovered is not None and self.hovered.row is not None:
            # What is isolated can be pointed at, too: all lines of the hovered row.
            everything = np.arange(len(self.content.columns))
            rows = np.concatenate([rows, np.full(len(everything), self.hovered.row)])
            columns = np.concatenate([columns, everything])
        share = (x - left) / (right - left)
        distances = np.abs(self._ys(rows) + (self._ys(columns) - self._ys(rows)) * share - y)
        if not distances.size or distances.min() > _REACH_PIXELS:
            return None
        nearest = int(distances.argmin())
        return MapHit(int(rows[nearest]), int(columns[nearest]))

    def pan(self, dx: float, dy: float) -> None:  # noqa: D102
        self._scroll_to(self._top - dy)

    def zoom_at(self, factor: float, at: QPointF) -> None:  # noqa: D102
        if self.content is None:
            return
        most = max(1.0, 2 * self._line() / (self._step() / self._zoom))
        zoom = min(max(self._zoom * factor, 1.0), most)
        if zoom != self._zoom:
            where = (at.y() + self._shift()) / self._step()
            self._zoom = zoom
            self._scroll_to(where * self._step() - at.y() + self._line() / 2)

    def reset_zoom(self) -> None:  # noqa: D102
        self._zoom = 1.0
        self._scroll_to(0.0)

    def _content_set(self) -> None:
        self._strongest = None
        if self.content is None:
            return
        measure = QFontMetricsF(self.theme.mono("body", bold=True)).horizontalAdvance
        pad = 2 * self.theme.space(1)
        self._label_widths = (
            max((measure(token.label) for token in self.content.rows), default=0.0) + pad,
            max((measure(token.label) for token in self.content.columns), default=0.0) + pad,
        )
        self._zoom, self._top = 1.0, 0.0

    def _colors_changed(self) -> None:
        self._strongest = None

    def paint_base(self, painter: QPainter, vector: bool) -> None:  # noqa: D102
        if self.content is None:
            return
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        rows, columns = self._strongest_lines()
        self._paint_lines(painter, rows, columns)

    def paint_overlay(self, painter: QPainter, emphasis: MapEmphasis) -> None:  # noqa: D102
        if self.content is None:
            return
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        rows, columns = self._isolated(emphasis)
        if rows or columns:
            left, right = self._ends()
            room = QRectF(left - 3.0, 0.0, right - left + 6.0, self.height())
            painter.fillRect(room, self.theme.color("surface", _FADED_ALPHA))
            height, width = self.content.weights.shape
            for row in rows:
                self._paint_lines(painter, np.full(width, row), np.arange(width))
            for column in columns:
                self._paint_lines(painter, np.arange(height), np.full(height, column))
        for row, column in emphasis.cells:
            self._paint_pair(painter, row, column, 4.0)
        hit = self.hovered
        if hit is not None and hit.row is not None and hit.column is not None:
            self._paint_pair(painter, hit.row, hit.column, 2.0)
        stride = label_stride(self._line() / self._step())
        for named, tokens, on_left in (
            (emphasis.rows, self.content.rows, True),
            (emphasis.columns, self.content.columns, False),
        ):
            first, last = (math.floor((y + self._shift()) / self._step()) for y in (0.0, self.height()))
            seen = range(max(0, first), min(len(tokens), last + 1))
            for index in labelled(seen, stride, named):
                self._paint_label(painter, tokens[index], index, on_left, named.get(index, Emphasis.NONE))
        if emphasis.marked_row is not None:
            self._paint_mark(painter, emphasis.marked_row)

    # -- parts ----------------------------------------------------------------------------------

    def _isolated(self, emphasis: MapEmphasis) -> tuple[list[int], list[int]]:
        """Rows and columns whose lines are to stand alone: the pointer's, else what is lit up."""
        hit = self.hovered
        if hit is not None:
            if hit.row is not None:
                return [hit.row], []
            return [], [hit.column] if hit.column is not None else []
        for how in (Emphasis.HOVERED, Emphasis.SELECTED):
            rows = [index for index, level in emphasis.rows.items() if level == how]
            columns = [index for index, level in emphasis.columns.items() if level == how]
            if rows or columns:
                return rows, columns
        return [], []

    def _strongest_lines(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Rows and columns of the lines worth drawing, weakest first."""
        assert self.content is not None
        if self._strongest is None:
            flat = self.content.weights.ravel()
            if flat.size > MOST_LINES:
                chosen = np.argpartition(flat, flat.size - MOST_LINES)[-MOST_LINES:]
            else:
                chosen = np.arange(flat.size)
            chosen = chosen[np.argsort(flat[chosen], kind="stable")]
            chosen = chosen[self.scale.indices(flat[chosen]) > 0]
            rows, columns = np.divmod(chosen, self.content.weights.shape[1])
            self._strongest = rows, columns
        return self._strongest

    def _paint_lines(
        self, painter: QPainter, rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp]
    ) -> None:
        assert self.content is not None
        left, right = self._ends()
        indices = self.scale.indices(self.content.weights[rows, columns])
        table = colormaps.heat_table(self.theme.palette.heat_low, self.theme.palette.heat_high)
        starts, stops = self._ys(rows), self._ys(columns)
        low, high = np.minimum(starts, stops), np.maximum(starts, stops)
        seen = np.flatnonzero((indices > 0) & (high >= 0) & (low <= self.height()))
        # One pen per colour, weakest first, so that strong lines lie on top.
        for level in np.unique(indices[seen]):
            color = QColor(*(int(part) for part in table[level]))
            width = 0.75 + self.theme.space(0.75) * float(level) / (colormaps.STEPS - 1)
            painter.setPen(QPen(color, width))
            members = seen[indices[seen] == level]
            painter.drawLines([QLineF(left, starts[i], right, stops[i]) for i in members])

    def _paint_pair(self, painter: QPainter, row: int, column: int, width: float) -> None:
        left, right = self._ends()
        painter.setPen(QPen(self.theme.color("selection"), width))
        painter.drawLine(QPointF(left, self._y(row)), QPointF(right, self._y(column)))

    def _paint_label(
        self, painter: QPainter, token: AxisToken, index: int, on_left: bool, how: Emphasis
    ) -> None:
        y, line, pad = self._y(index), self._line(), self.theme.space(0.5)
        left, right = self._ends()
        font = self.theme.mono("body", bold=how == Emphasis.SELECTED)
        metrics = QFontMetricsF(font)
        room = (left if on_left else self.width() - right) - 2 * pad
        text = metrics.elidedText(token.label, Qt.TextElideMode.ElideRight, room - 2 * pad)
        width = metrics.horizontalAdvance(text)
        x = left - 2 * pad - width if on_left else right + 2 * pad
        rect = QRectF(x, y - line / 2, width, line)
        if how != Emphasis.NONE:
            style = Qt.PenStyle.DashLine if how == Emphasis.SAME else Qt.PenStyle.SolidLine
            pen = QPen(self.theme.color("selection"), 2.0 if how == Emphasis.SELECTED else 1.0, style)
            painter.setPen(pen)
            painter.setBrush(self.theme.color("surface" if how == Emphasis.SAME else "selection_fill"))
            painter.drawRoundedRect(rect.adjusted(-pad, 1, pad, -1), pad, pad)
        painter.setFont(font)
        painter.setPen(self.theme.side_color(token.ref.side))
        painter.drawText(rect, Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextSingleLine, text)

    def _paint_mark(self, painter: QPainter, row: int) -> None:
        """A small triangle at the left edge, at the row that wrote the viewed step's token."""
        half, y = self.theme.space(0.75), self._y(row)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self.theme.color("text"))
        painter.drawPolygon([QPointF(0, y - half), QPointF(1.5 * half, y), QPointF(0, y + half)])

    # -- where things are -------------------------------------------------------------------------

    def _line(self) -> float:
        return QFontMetricsF(self.theme.mono("body", bold=True)).height()

    def _ends(self) -> tuple[float, float]:
        """The x at which lines begin and end."""
        most = self.width() * _LABEL_SHARE
        mark = self.theme.space(2)
        return min(self._label_widths[0], most) + mark, self.width() - min(self._label_widths[1], most)

    def _step(self) -> float:
        """Pixels from one token to the next; the same on both sides, so that equal places are level."""
        assert self.content is not None
        count = max(self.content.weights.shape)
        room = max(self.height() - self._line(), 1.0)
        return float(max(min(room / count, 2.5 * self._line()) * self._zoom, 1e-3))

    def _shift(self) -> float:
        """What to take from a content y to get a widget y: the scroll, less half a label of margin."""
        return self._top - self._line() / 2

    def _y(self, index: int) -> float:
        return (index + 0.5) * self._step() - self._shift()

    def _ys(self, indices: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
        return np.asarray((indices + 0.5) * self._step() - self._shift(), dtype=np.float64)

    def _index_at(self, y: float, count: int) -> int | None:
        index = math.floor((y + self._shift()) / self._step())
        return index if 0 <= index < count else None

    def _scroll_to(self, top: float) -> None:
        if self.content is None:
            return
        whole = self._step() * max(self.content.weights.shape) + self._line()
        self._top = min(max(top, 0.0), max(0.0, whole - self.height()))
        self.invalidate()
        self.view_changed.emit()
