"""What is painted over the bars: the running sum that top-p looks at, and how often each was drawn."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QFontMetricsF, QPainter, QPen

from explorer.panels.softmax.bar_content import BarContent
from explorer.panels.softmax.bar_geometry import BarGeometry
from explorer.theme import Theme

_SUM_TICKS = (0.0, 0.5, 1.0)


def running_sum_room(theme: Theme) -> float:
    """Pixels that the running sum's own axis takes on the right."""
    return QFontMetricsF(theme.mono("small")).horizontalAdvance("0.0") + theme.space(2)


def paint_running_sum(painter: QPainter, theme: Theme, geometry: BarGeometry, content: BarContent) -> None:
    """Paint the curve with its own axis, 0 to 1 on the right, and the line where top-p stops adding."""
    plot = geometry.plot

    def height(share: float) -> float:
        return plot.bottom() - min(share, 1.0) * plot.height()

    color = theme.color("accent")
    points = [QPointF(geometry.middle(i), height(total)) for i, total in enumerate(content.cumulative)]
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QPen(color, 1.6 * theme.scale))
    painter.drawPolyline(points)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
    painter.setFont(theme.mono("small"))
    row = QFontMetricsF(painter.font()).height()
    for share in _SUM_TICKS if plot.height() > 2.5 * row else (1.0,):
        y = round(height(share))
        painter.drawLine(QPointF(plot.right(), y), QPointF(plot.right() + theme.space(0.6), y))
        area = QRectF(plot.right() + theme.space(1), y - row / 2, running_sum_room(theme), row)
        painter.drawText(area, Qt.AlignmentFlag.AlignVCenter, f"{share:.1f}")
    if content.top_p is None or content.top_p >= 1.0 or not points:
        return
    y = round(height(content.top_p))
    painter.setPen(QPen(theme.color("error"), 1, Qt.PenStyle.DotLine))
    painter.drawLine(QPointF(plot.left(), y), QPointF(plot.right(), y))
    painter.setPen(theme.color("error"))
    painter.setFont(theme.prose("small"))
    metrics = QFontMetricsF(painter.font())
    text = f"top-p {content.top_p:g} of the running sum"
    width = metrics.horizontalAdvance(text) + 4
    area = QRectF(plot.right() - width, y + 1, width, metrics.height())
    painter.fillRect(area, theme.color("surface", 220))
    painter.drawText(area, Qt.AlignmentFlag.AlignCenter, text)


def paint_draw_counts(
    painter: QPainter, theme: Theme, left: float, places: Sequence[QPointF], counts: Sequence[int]
) -> None:
    """Write how often each token was drawn, centred above its place; by rank, as far as there is room.

    Nothing is written to the left of ``left``.
    """
    painter.setFont(theme.mono("small"))
    painter.setPen(theme.color("text"))
    metrics = QFontMetricsF(painter.font())
    taken: list[QRectF] = []
    for place, count in zip(places, counts, strict=True):
        text = f"{count:,}"
        width = metrics.horizontalAdvance(text)
        x = max(left, place.x() - width / 2)
        area = QRectF(x, place.y() - metrics.height(), width, metrics.height())
        if count and not any(area.adjusted(-3, 0, 3, 0).intersects(other) for other in taken):
            taken.append(area)
            painter.drawText(area, Qt.AlignmentFlag.AlignCenter, text)
