"""One line of text in a painted cell, cut with an ellipsis where it does not fit."""

from __future__ import annotations

from PySide6.QtCore import QRect, Qt
from PySide6.QtGui import QColor, QFont, QFontMetrics, QPainter


def write_elided(
    painter: QPainter, rect: QRect, text: str, font: QFont, color: QColor, *, right: bool = False
) -> None:
    """Write ``text`` in ``rect``, vertically centred, at its left or at its right side."""
    painter.setFont(font)
    painter.setPen(color)
    side = Qt.AlignmentFlag.AlignRight if right else Qt.AlignmentFlag.AlignLeft
    text = QFontMetrics(font).elidedText(text, Qt.TextElideMode.ElideRight, rect.width())
    painter.drawText(rect, side | Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextSingleLine, text)
