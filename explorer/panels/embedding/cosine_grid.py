"""A cosine matrix as a heat map: every token of the sentence against every other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFontMetricsF, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from explorer.colormaps import contrast, heat_table
from explorer.panels.widgets.piece_text import shorten, visible_piece
from explorer.theme import Theme

_LONGEST = 12


class CosineGrid(QWidget):
    """Cells from cosine 0 (and below) to 1; a click selects the two tokens.

    Signals
    -------
    clicked : int, int
        Row and column.
    """

    clicked = Signal(int, int)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("cosine_grid")
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self._theme = theme
        self._labels: list[str] = []
        self._sides: list[str] = []
        self._cosines: npt.NDArray[np.float64] = np.empty((0, 0))
        self._over: tuple[int, int] | None = None

    def show_matrix(self, tokens: Sequence[tuple[str, str]], cosines: npt.NDArray[np.float64]) -> None:
        """Show (piece, side) of each token and the (n, n) cosines."""
        self._labels = [shorten(visible_piece(piece), _LONGEST) for piece, _ in tokens]
        self._sides = [side for _, side in tokens]
        self._cosines, self._over = cosines, None
        self.update()

    def sizeHint(self) -> QSize:
        """Room for a short sentence."""
        return QSize(320, 200)

    def minimumSizeHint(self) -> QSize:
        """Small, but not nothing."""
        return QSize(160, 90)

    def cell_center(self, row: int, column: int) -> QPointF:
        """Where a cell is drawn."""
        return self._cell(row, column).center()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Labels left, cells, and what is under the pointer in words below."""
        theme = self._theme
        painter = QPainter(self)
        if not self._labels:
            painter.setFont(theme.prose("small"))
            painter.setPen(theme.color("muted"))
            text = "Run the model: every token of the sentence is compared with every other here."
            painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, text)
            return
        table = heat_table(theme.palette.heat_low, theme.palette.heat_high)
        mono = theme.mono("small")
        painter.setFont(mono)
        metrics = QFontMetricsF(mono)
        for row, label in enumerate(self._labels):
            first = self._cell(row, 0)
            if first.height() >= metrics.height() * 0.75:
                painter.setPen(theme.side_color(self._sides[row]))
                box = QRectF(0, first.top(), first.left() - theme.space(0.7), first.height())
                painter.drawText(box, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, label)
            for column in range(len(self._labels)):
                self._paint_cell(painter, row, column, table, metrics)
        if self._over is not None:
            painter.setPen(QPen(theme.color("selection"), 2.0))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(self._cell(*self._over))
        painter.setPen(theme.color("muted"))
        foot = QRectF(0, self.height() - metrics.height(), self.width(), metrics.height())
        painter.drawText(foot, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, self._caption())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Name the cell under the pointer."""
        self._over = self._at(event.position())
        self.update()

    def leaveEvent(self, event: QEvent) -> None:
        """Nothing is under the pointer any more."""
        self._over = None
        self.update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Select the two tokens."""
        cell = self._at(event.position())
        if cell is not None:
            self.clicked.emit(*cell)

    def _caption(self) -> str:
        if self._over is None:
            return "cosine: the stronger, the nearer to 1"
        row, column = self._over
        cosine = self._cosines[row, column]
        value = "no direction" if np.isnan(cosine) else f"{cosine:.4f}"
        return f"{self._labels[row]} · {self._labels[column]}  {value}"

    def _paint_cell(
        self, painter: QPainter, row: int, column: int, table: npt.NDArray[np.uint8], metrics: QFontMetricsF
    ) -> None:
        value = float(self._cosines[row, column])
        shade = table[0 if np.isnan(value) else round(min(max(value, 0.0), 1.0) * 255)].astype(np.float64)
        cell = self._cell(row, column)
        painter.fillRect(cell.adjusted(0.5, 0.5, -0.5, -0.5), QColor(*(int(x) for x in shade)))
        text = "–" if np.isnan(value) else f"{value:.2f}"
        if metrics.horizontalAdvance("-0.00") + 4 <= cell.width() and metrics.height() <= cell.height():
            dark, light = np.array([16.0, 20.0, 30.0]), np.array([255.0, 255.0, 255.0])
            ink = dark if contrast(shade, dark) > contrast(shade, light) else light
            painter.setPen(QColor(*(int(x) for x in ink)))
            painter.drawText(cell, Qt.AlignmentFlag.AlignCenter, text)

    def _cell(self, row: int, column: int) -> QRectF:
        metrics = QFontMetricsF(self._theme.mono("small"))
        left = max((metrics.horizontalAdvance(label) for label in self._labels), default=0.0)
        left = min(left + self._theme.space(1), 0.4 * self.width())
        count = max(1, len(self._labels))
        high = (self.height() - metrics.height() - 4) / count
        wide = min((self.width() - left) / count, 3.2 * high)
        return QRectF(left + column * wide, row * high, wide, high)

    def _at(self, position: QPointF) -> tuple[int, int] | None:
        if not self._labels:
            return None
        first = self._cell(0, 0)
        row = int((position.y() - first.top()) // first.height())
        column = int((position.x() - first.left()) // first.width())
        inside = 0 <= row < len(self._labels) and 0 <= column < len(self._labels)
        return (row, column) if inside else None
