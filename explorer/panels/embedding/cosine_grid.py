"""A cosine matrix as a heat map: every token of the sentence against every other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFontMetricsF, QImage, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from explorer.colormaps import ColorScale, contrast, heat_table, pixels
from explorer.panels.widgets.piece_text import shorten, visible_piece
from explorer.theme import Theme

_LONGEST = 12
# Pixels of a cell from which a gap of one beside it leaves a cell to be seen.
_GAP_FROM = 5
# Cosine 0 and below is palest; a vector of zeros, which has no direction, too.
SHADES = ColorScale()


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
        self._shades: npt.NDArray[np.uint8] = np.empty((0, 0), dtype=np.uint8)  # rows of the colour table
        self._over: tuple[int, int] | None = None

    def show_matrix(self, tokens: Sequence[tuple[str, str]], cosines: npt.NDArray[np.float64]) -> None:
        """Show (piece, side) of each token and the (n, n) cosines."""
        self._labels = [shorten(visible_piece(piece), _LONGEST) for piece, _ in tokens]
        self._sides = [side for _, side in tokens]
        self._cosines, self._over = cosines, None
        self._shades = SHADES.indices(cosines)
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
        mono = theme.mono("small")
        painter.setFont(mono)
        metrics = QFontMetricsF(mono)
        first, count = self._cell(0, 0), len(self._labels)
        self._paint_colours(painter, first)
        if first.height() >= metrics.height() * 0.75:
            for row, label in enumerate(self._labels):
                painter.setPen(theme.side_color(self._sides[row]))
                top = first.top() + row * first.height()
                box = QRectF(0, top, first.left() - theme.space(0.7), first.height())
                painter.drawText(box, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, label)
        if metrics.horizontalAdvance("-0.00") + 4 <= first.width() and metrics.height() <= first.height():
            for row in range(count):
                for column in range(count):
                    self._paint_number(painter, row, column, first)
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

    def _paint_colours(self, painter: QPainter, first: QRectF) -> None:
        """All cells as one picture, with a gap between them where they are wide enough for one."""
        count = len(self._labels)
        colours = pixels(self._table())[self._shades]  # (n, n)
        image = QImage(colours.data, count, count, 4 * count, QImage.Format.Format_RGB32)
        whole = QRectF(first.left(), first.top(), first.width() * count, first.height() * count)
        painter.drawImage(whole, image)
        if min(first.width(), first.height()) < _GAP_FROM:
            return
        painter.setPen(QPen(self._theme.color("surface"), 1.0))
        for line in range(count + 1):
            x, y = whole.left() + line * first.width(), whole.top() + line * first.height()
            painter.drawLine(QPointF(x, whole.top()), QPointF(x, whole.bottom()))
            painter.drawLine(QPointF(whole.left(), y), QPointF(whole.right(), y))

    def _paint_number(self, painter: QPainter, row: int, column: int, first: QRectF) -> None:
        value = float(self._cosines[row, column])
        shade = self._table()[self._shades[row, column]].astype(np.float64)
        dark, light = np.array([16.0, 20.0, 30.0]), np.array([255.0, 255.0, 255.0])
        ink = dark if contrast(shade, dark) > contrast(shade, light) else light
        painter.setPen(QColor(*(int(x) for x in ink)))
        cell = first.translated(column * first.width(), row * first.height())
        painter.drawText(cell, Qt.AlignmentFlag.AlignCenter, "–" if np.isnan(value) else f"{value:.2f}")

    def _table(self) -> npt.NDArray[np.uint8]:
        return heat_table(self._theme.palette.heat_low, self._theme.palette.heat_high)

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
