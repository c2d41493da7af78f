"""Two distributions over each other: the most likely tokens of either, each with two bars."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QEvent, QPoint, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QFontMetrics, QHelpEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from explorer.core.run_comparison import Bar
from explorer.panels.widgets.piece_text import plain_tooltip, probability_text, visible_piece
from explorer.theme import Theme


class OverlayBars(QWidget):
    """As many tokens as there is room for, likeliest first, down one column and then the next.

    The kept run's bar is grey and above, that of the run on show green and below; a dash stands where
    a vocabulary does not have the piece.
    """

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme = theme
        self.bars: tuple[Bar, ...] = ()
        self.setObjectName("overlay_bars")
        self.setAccessibleName("Both distributions of the viewed step")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.update_theme()

    def show_bars(self, bars: Sequence[Bar]) -> None:
        """Show these."""
        self.bars = tuple(bars)
        self.update()

    def update_theme(self) -> None:
        """Colours or sizes changed."""
        self._font = self.theme.mono("small")
        self.row_height = QFontMetrics(self._font).height() + self.theme.space(0.3)
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:  # noqa: D102
        return QSize(self.theme.space(60), 3 * self.row_height)

    def minimumSizeHint(self) -> QSize:  # noqa: D102
        return QSize(self.theme.space(15), self.row_height)

    def _grid(self) -> tuple[int, int, int]:
        """Rows, columns and the width of a column."""
        rows = max(1, self.height() // self.row_height)
        columns = max(1, self.width() // self.theme.space(30))
        return rows, columns, self.width() // columns

    def bar_rect(self, index: int) -> QRect:
        """Where a token's bars are; empty when there is no room for them."""
        rows, columns, width = self._grid()
        column, row = divmod(index, rows)
        if column >= columns:
            return QRect()
        return QRect(column * width, row * self.row_height, width - self.theme.space(1.5), self.row_height)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: D102
        with QPainter(self) as painter:
            painter.setFont(self._font)
            for index, bar in enumerate(self.bars):
                rect = self.bar_rect(index)
                if rect.isEmpty():
                    break
                self._paint(painter, rect, bar)

    def _paint(self, painter: QPainter, rect: QRect, bar: Bar) -> None:
        theme, metrics = self.theme, QFontMetrics(self._font)
        number = metrics.horizontalAdvance("0.000") + theme.space(0.8)
        label = min(metrics.horizontalAdvance("0") * 10, rect.width() // 3)
        flags = Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextSingleLine
        painter.setPen(theme.color("text"))
        piece = metrics.elidedText(visible_piece(bar.piece), Qt.TextElideMode.ElideRight, label)
        painter.drawText(QRect(rect.left(), rect.top(), label, rect.height()), flags, piece)
        left = rect.left() + label + theme.space(0.7)
        room = max(4, rect.right() - left - 2 * number)
        height = max(2, (rect.height() - theme.space(0.8)) // 2)
        top = rect.top() + (rect.height() - 2 * height) // 2
        right = Qt.AlignmentFlag.AlignRight | flags
        for place, (value, color, ink) in enumerate(
            ((bar.first, "before", "muted"), (bar.second, "after", "generated"))
        ):
            if value is not None:
                width = max(1.0 if value > 0 else 0.0, room * value)
                painter.fillRect(QRectF(left, top + place * height, width, height), theme.color(color))
            cell = QRect(left + room + place * number, rect.top(), number, rect.height())
            painter.setPen(theme.color(ink))
            painter.drawText(cell, right, "–" if value is None else probability_text(value))

    def event(self, event: QEvent) -> bool:  # noqa: D102
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            text = self.describe(event.pos())
            QToolTip.showText(event.globalPos(), plain_tooltip(text) if text else "", self)
            return True
        return super().event(event)

    def describe(self, point: QPoint) -> str:
        """The plain text of the tooltip at a point."""
        for index, bar in enumerate(self.bars):
            if self.bar_rect(index).contains(point):
                kept = "not in its vocabulary" if bar.first is None else f"{bar.first:.6g}"
                here = "not in its vocabulary" if bar.second is None else f"{bar.second:.6g}"
                return f"{visible_piece(bar.piece)}\nkept: {kept}\non show: {here}"
        return ""
