"""A two-sided heat map with few words: values below and above zero, tokens marked at its edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFontMetricsF,
    QImage,
    QLinearGradient,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from explorer.app.state import Emphasis
from explorer.colormaps import heat_table
from explorer.theme import Theme

# Blue and orange are told apart by colour-blind eyes; both are as strong at the same distance from zero.
_BELOW_ZERO = {False: "#9a4a00", True: "#ffb37a"}
# Where there is no value: under a causal mask.
_SIDE = 256


@dataclass(frozen=True, eq=False)
class MapContent:
    """What a map shows.

    Attributes
    ----------
    values : numpy.ndarray
        (rows, columns) float; NaN where there is none.
    limit : float
        The strongest colours stand for this and its negative, and for all beyond.
    title, columns : str
        What the map is, and what its columns are.
    first_column : int
        What the first column counts as.
    square : bool
        Columns are positions too, so that tokens are marked above them.
    """

    values: npt.NDArray[np.floating]
    limit: float
    title: str
    columns: str
    first_column: int = 0
    square: bool = False


class PositionMap(QWidget):
    """Paints the map at any size; small cells are averaged, large ones drawn as they are.

    Signals
    -------
    hovered : object
        (row, column) under the pointer, or None.
    clicked : int, int, bool
        Row, column, and whether Ctrl or Shift was held.
    """

    hovered = Signal(object)
    clicked = Signal(int, int, bool)

    def __init__(self, theme: Theme, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self._theme = theme
        self._content: MapContent | None = None
        self._marks: tuple[tuple[str, Emphasis], ...] = ()
        self._outlined: int | None = None
        self._over: tuple[int, int] | None = None
        self._drawn: QPixmap | None = None

    @property
    def content(self) -> MapContent | None:
        """What is shown."""
        return self._content

    def show_content(self, content: MapContent | None) -> None:
        """Show another map; O(cells)."""
        self._content, self._over, self._drawn = content, None, None
        self.setAccessibleName("" if content is None else content.title)
        self.update()

    def set_marks(self, marks: Sequence[tuple[str, Emphasis]]) -> None:
        """Mark the first rows as tokens: the side of each, and how it stands out."""
        self._marks = tuple(marks)
        self.update()

    def outline_row(self, row: int | None) -> None:
        """Draw a frame around one row: the one that is chosen."""
        self._outlined = row
        self.update()

    def update_theme(self) -> None:
        """Colours or sizes changed."""
        self._drawn = None
        self.update()

    def sizeHint(self) -> QSize:
        """Room for a few dozen positions."""
        return QSize(300, 240)

    def minimumSizeHint(self) -> QSize:
        """Small, but not nothing."""
        return QSize(120, 90)

    def cell_center(self, row: int, column: int) -> QPointF:
        """Where a cell is drawn."""
        return self._cells(row, column, 1, 1).center()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Title and scale above, the cells, their columns named below."""
        content = self._content
        if content is None:
            return
        painter = QPainter(self)
        area = self._area()
        ratio = self.devicePixelRatioF()
        if self._drawn is None or self._drawn.size() != (area.size() * ratio).toSize():
            self._drawn = self._draw(content, (area.size() * ratio).toSize())
        painter.drawPixmap(area, self._drawn, QRectF(self._drawn.rect()))
        painter.setPen(QPen(self._theme.color("border"), 1.0))
        painter.drawRect(area)
        self._paint_marks(painter, content)
        if self._outlined is not None:
            painter.setPen(QPen(self._theme.color("selection"), 2.0))
            painter.drawRect(self._cells(self._outlined, 0, 1, content.values.shape[1]))
        if self._over is not None:
            painter.setPen(QPen(self._theme.color("text"), 1.0))
            painter.drawRect(self._cells(*self._over, 1, 1).adjusted(-1.5, -1.5, 1.5, 1.5))
        self._paint_words(painter, content, area)

    def resizeEvent(self, event: QEvent) -> None:
        """The picture is drawn anew."""
        self._drawn = None

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Name the cell under the pointer."""
        self._set_over(self._at(event.position()))

    def leaveEvent(self, event: QEvent) -> None:
        """Nothing is under the pointer any more."""
        self._set_over(None)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """A cell was clicked."""
        cell = self._at(event.position())
        if cell is not None:
            more = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
            self.clicked.emit(*cell, bool(event.modifiers() & more))

    def _set_over(self, over: tuple[int, int] | None) -> None:
        if over != self._over:
            self._over = over
            self.hovered.emit(over)
            self.update()

    def _draw(self, content: MapContent, size: QSize) -> QPixmap:
        share = np.clip(content.values / content.limit, -1.0, 1.0)
        nothing = np.isnan(share)
        steps = np.rint(np.where(nothing, 0.0, share) * (_SIDE - 1)).astype(np.intp)
        palette = self._theme.palette
        above = heat_table(palette.heat_low, palette.heat_high)
        below = heat_table(palette.heat_low, _BELOW_ZERO[palette.dark])
        colors = np.concatenate([below[:0:-1], above])[steps + _SIDE - 1].astype(np.uint8)  # (R, C, 3)
        masked = self._theme.color("grid")
        colors[nothing] = (masked.red(), masked.green(), masked.blue())
        rows, columns = content.values.shape
        colors = np.ascontiguousarray(colors)
        image = QImage(colors.data, columns, rows, 3 * columns, QImage.Format.Format_RGB888)
        # Nearest cells where there are more pixels than cells, their mean where there are fewer.
        wide = size.width() >= columns
        high = size.height() >= rows
        fast, smooth = Qt.TransformationMode.FastTransformation, Qt.TransformationMode.SmoothTransformation
        keep = Qt.AspectRatioMode.IgnoreAspectRatio
        image = image.scaled(size.width(), rows, keep, fast if wide else smooth)
        return QPixmap.fromImage(image.scaled(size, keep, fast if high else smooth))

    def _paint_marks(self, painter: QPainter, content: MapContent) -> None:
        """A bar beside each token's row (and above its column), amber where it stands out."""
        thick = self._theme.space(0.6)
        rows, columns = content.values.shape
        for place, (side, emphasis) in enumerate(self._marks[:rows]):
            strong = emphasis in (Emphasis.SELECTED, Emphasis.HOVERED)
            color = self._theme.color("selection") if strong else self._theme.side_color(side)
            row = self._cells(place, 0, 1, columns)
            gap = 1.0 if row.height() > 3.0 else 0.0
            bar = QRectF(row.left() - thick - 2, row.top(), thick, max(1.0, row.height() - gap))
            painter.fillRect(bar, color)
            if content.square and place < columns:
                column = self._cells(0, place, rows, 1)
                gap = 1.0 if column.width() > 3.0 else 0.0
                painter.fillRect(
                    QRectF(column.left(), column.top() - thick - 2, max(1.0, column.width() - gap), thick),
                    color,
                )
            if strong:
                painter.setPen(QPen(color, 2.0 if emphasis is Emphasis.SELECTED else 1.0))
                painter.drawRect(row)

    def _paint_words(self, painter: QPainter, content: MapContent, area: QRectF) -> None:
        font = self._theme.prose("small")
        metrics = QFontMetricsF(font)
        high = metrics.height()
        painter.setFont(font)
        ends = (f"−{content.limit:.2g}", f"{content.limit:.2g}")
        bar = self._theme.space(6)
        gap = self._theme.space(0.6)
        widths = [metrics.horizontalAdvance(text) for text in ends]
        right = area.right() + 1
        box = QRectF(right - widths[1] - gap - bar, 0.25 * high, bar, 0.5 * high)
        start = box.left() - gap - widths[0]
        if start - area.left() > metrics.horizontalAdvance(content.title) + gap:
            gradient = QLinearGradient(box.topLeft(), box.topRight())
            palette = self._theme.palette
            gradient.setColorAt(0.0, QColor(_BELOW_ZERO[palette.dark]))
            gradient.setColorAt(0.5, QColor(palette.heat_low))
            gradient.setColorAt(1.0, QColor(palette.heat_high))
            painter.fillRect(box, gradient)
            painter.setPen(self._theme.color("muted"))
            painter.drawText(QPointF(start, metrics.ascent()), ends[0])
            painter.drawText(QPointF(box.right() + gap, metrics.ascent()), ends[1])
        else:
            # Too narrow for the bar: its ends in words.
            ends_text = f"±{content.limit:.2g}"
            start = right - metrics.horizontalAdvance(ends_text)
            painter.setPen(self._theme.color("muted"))
            painter.drawText(QPointF(start, metrics.ascent()), ends_text)
        painter.setPen(self._theme.color("text"))
        title = metrics.elidedText(content.title, Qt.TextElideMode.ElideRight, start - area.left() - 2 * gap)
        painter.drawText(QPointF(area.left(), metrics.ascent()), title)
        painter.setPen(self._theme.color("muted"))
        rows, columns = content.values.shape
        first, last = content.first_column, content.first_column + columns - 1
        foot = QRectF(area.left(), area.bottom() + 2, area.width(), high)
        align = Qt.AlignmentFlag
        painter.drawText(foot, align.AlignLeft, f"{first}".replace("-", "−"))
        painter.drawText(foot, align.AlignHCenter, content.columns)
        painter.drawText(foot, align.AlignRight, f"{last}")
        left = QRectF(0, area.top(), area.left() - self._theme.space(0.6) - 4, area.height())
        painter.drawText(left, align.AlignRight | align.AlignTop, "0")
        painter.drawText(left, align.AlignRight | align.AlignBottom, f"{rows - 1}")

    def _area(self) -> QRectF:
        metrics = QFontMetricsF(self._theme.prose("small"))
        high, thick = metrics.height(), self._theme.space(0.6) + 2
        left = metrics.horizontalAdvance("511") + thick + 4
        top = high + thick + 2
        return QRectF(left, top, max(1.0, self.width() - left - 2), max(1.0, self.height() - top - high - 4))

    def _cells(self, row: int, column: int, rows: int, columns: int) -> QRectF:
        area = self._area()
        if self._content is None:
            return area
        count, across = self._content.values.shape
        high, wide = area.height() / count, area.width() / across
        return QRectF(area.left() + column * wide, area.top() + row * high, columns * wide, rows * high)

    def _at(self, position: QPointF) -> tuple[int, int] | None:
        if self._content is None:
            return None
        area, (rows, columns) = self._area(), self._content.values.shape
        row = int((position.y() - area.top()) // (area.height() / rows))
        column = int((position.x() - area.left()) // (area.width() / columns))
        return (row, column) if 0 <= row < rows and 0 <= column < columns else None
