"""One line of numbers and words that is never cut in the middle of a number."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QFontMetrics, QPainter, QPaintEvent
from PySide6.QtWidgets import QLabel, QWidget


class ReadingLine(QLabel):
    """A label in the monospaced face that ends in an ellipsis where there is no room for all of it."""

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self.setProperty("role", "reading")
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setMinimumWidth(1)

    @property
    def shown(self) -> str:
        """What there is room for: whole words, then an ellipsis."""
        metrics, text = QFontMetrics(self.font()), self.text()
        if metrics.horizontalAdvance(text) <= self.width():
            return text
        words = text.split(" ")
        while len(words) > 1 and metrics.horizontalAdvance(" ".join(words) + " …") > self.width():
            words.pop()
        while len(words) > 1 and words[-1] == "·":
            words.pop()
        if len(words) == 1:
            return metrics.elidedText(text, Qt.TextElideMode.ElideRight, self.width())
        return " ".join(words) + " …"

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: D102
        with QPainter(self) as painter:
            self.style().drawItemText(
                painter,
                self.rect(),
                Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter,
                self.palette(),
                self.isEnabled(),
                self.shown,
                self.foregroundRole(),
            )
