"""A spin box whose arrows are drawn by hand: a style sheet takes the native ones away."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSpinBox, QWidget

from explorer.theme import Theme


class CounterBox(QSpinBox):
    """A number with its name in front, e.g. ``layer 2``; type it, wheel it, or use the arrows."""

    def __init__(self, theme: Theme, name: str, prefix: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme = theme
        self.setObjectName(name)
        self.setAccessibleName(prefix.strip())
        self.setPrefix(prefix)
        # While a number is typed, its first digits are no choice yet.
        self.setKeyboardTracking(False)
        self.update_theme()

    def update_theme(self) -> None:
        """Colours or sizes changed."""
        pad, arrows = self.theme.space(1), self._arrow_width()
        self.setStyleSheet(
            f"QSpinBox {{ padding: {round(pad * 0.55)}px {arrows}px {round(pad * 0.55)}px 0px; }}"
            "QSpinBox::up-button, QSpinBox::down-button {"
            f" subcontrol-origin: border; width: {arrows}px; border: none; background: transparent; }}"
            "QSpinBox::up-button { subcontrol-position: top right; }"
            "QSpinBox::down-button { subcontrol-position: bottom right; }"
            "QSpinBox::up-arrow, QSpinBox::down-arrow { image: none; width: 0; height: 0; }"
        )
        self.lineEdit().setTextMargins(pad, 0, 0, 0)
        self.updateGeometry()

    def sizeHint(self) -> QSize:  # noqa: D102
        text = self.fontMetrics().horizontalAdvance(f"{self.prefix()}{max(self.maximum(), 10)}")
        width = text + self.theme.space(2) + self._arrow_width() + 3
        return QSize(width, super().sizeHint().height())

    def minimumSizeHint(self) -> QSize:  # noqa: D102
        return self.sizeHint()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: D102
        super().paintEvent(event)
        with QPainter(self) as painter:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            half = self.theme.space(0.6)
            x = self.width() - self._arrow_width() / 2 - 1
            for direction, can_go in (
                (-1, self.value() < self.maximum()),
                (1, self.value() > self.minimum()),
            ):
                ink = self.theme.color("text" if can_go and self.isEnabled() else "border")
                painter.setPen(QPen(ink, 1.6, c=Qt.PenCapStyle.RoundCap, j=Qt.PenJoinStyle.RoundJoin))
                y = self.height() / 2 + direction * self.theme.space(0.75)
                tip = QPointF(x, y + direction * half * 0.8)
                painter.drawPolyline([QPointF(x - half, y), tip, QPointF(x + half, y)])

    def _arrow_width(self) -> int:
        return self.theme.space(3)
