"""What the kinds of bars mean, and how a cut one is painted."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QBrush, QFontMetricsF, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from explorer.theme import Theme


def paint_cut_bar(painter: QPainter, area: QRectF, theme: Theme) -> None:
    """Paint a bar that is hollow and hatched: there, but out of the draw."""
    if area.height() < 1:
        return
    color = theme.color("faint")
    if area.height() < 3 or area.width() < 3:
        painter.fillRect(area, color)
        return
    painter.fillRect(area, theme.color("surface"))
    if area.width() >= 6:
        painter.fillRect(area, QBrush(color, Qt.BrushStyle.BDiagPattern))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(QPen(color))
    painter.drawRect(area.adjusted(0.5, 0.5, -0.5, -0.5))
    painter.setPen(Qt.PenStyle.NoPen)


class BarLegend(QWidget):
    """What the kinds of bars mean."""

    _ENTRIES = (("before", "model (T = 1)"), ("after", "reshaped"), ("cut", "cut"), ("text", "drawn"))

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme = theme
        self._drawn = False
        self.setAccessibleName("Grey: model, temperature 1. Green: reshaped. Hollow: cut.")
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:  # noqa: D102
        metrics = QFontMetricsF(self.theme.prose("small"))
        width = sum(self._entry_width(metrics, text) for _, text in self._entries())
        return QSize(round(width - self.theme.space(1.4)), round(metrics.height()) + self.theme.space(0.5))

    def set_drawn(self, drawn: bool) -> None:
        """Whether the mark of the draws is among the entries."""
        self._drawn = drawn
        self.updateGeometry()
        self.update()

    def _entries(self) -> tuple[tuple[str, str], ...]:
        return self._ENTRIES if self._drawn else self._ENTRIES[:-1]

    def _entry_width(self, metrics: QFontMetricsF, text: str) -> float:
        return metrics.ascent() * 0.75 + self.theme.space(2.6) + metrics.horizontalAdvance(text)

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: D102
        painter, theme = QPainter(self), self.theme
        painter.setFont(theme.prose("small"))
        metrics = QFontMetricsF(painter.font())
        side = round(metrics.ascent() * 0.75)
        x = 0.0
        for name, text in self._entries():
            swatch = QRectF(round(x), round((self.height() - side) / 2), side, side)
            if name == "cut":
                paint_cut_bar(painter, swatch, theme)
            elif name == "text":
                painter.fillRect(swatch.adjusted(0, side // 2 - 1, 0, 1 - side // 2), theme.color(name))
            else:
                painter.fillRect(swatch, theme.color(name))
            painter.setPen(theme.color("muted"))
            start = x + side + theme.space(0.8)
            area = QRectF(start, 0, metrics.horizontalAdvance(text) + 2, self.height())
            painter.drawText(area, Qt.AlignmentFlag.AlignVCenter, text)
            x += self._entry_width(metrics, text)
        painter.end()
