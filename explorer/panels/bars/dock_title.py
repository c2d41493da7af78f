"""A dock's title bar: the panel's title on the left, the facts that qualify it on the right."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen, QResizeEvent
from PySide6.QtWidgets import QDockWidget, QHBoxLayout, QLabel, QSizePolicy, QToolButton, QWidget

from explorer.panels.widgets.panel import Panel
from explorer.theme import Theme


class DockTitle(QWidget):
    """Title, facts (elided in the middle when there is no room; the tooltip has all), float and close.

    Mouse presses fall through to the dock, which moves, floats on double click and tabs as usual.
    """

    def __init__(self, dock: QDockWidget, panel: Panel, theme: Theme) -> None:
        super().__init__(dock)
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setProperty("role", "dock_title")
        self._theme = theme
        self._panel = panel
        self._title = QLabel(panel.title, self)
        self._title.setProperty("role", "title")
        self._facts = QLabel(self)
        self._facts.setProperty("role", "facts")
        self._facts.setTextFormat(Qt.TextFormat.PlainText)
        self._facts.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._facts.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self._float = _TitleButton("float", f"Float the {panel.title} panel, or put it back", theme, self)
        self._float.clicked.connect(lambda: dock.setFloating(not dock.isFloating()))
        self._close = _TitleButton(
            "close", f"Close the {panel.title} panel (View brings it back)", theme, self
        )
        self._close.clicked.connect(dock.close)
        self._row = QHBoxLayout(self)
        self._row.addWidget(self._title)
        self._row.addWidget(self._facts, 1)
        self._row.addWidget(self._float)
        self._row.addWidget(self._close)
        panel.facts_changed.connect(self._update_facts)
        theme.changed.connect(self._update_theme)
        self._update_theme()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Elide the facts anew."""
        super().resizeEvent(event)
        self._update_facts()

    def _update_facts(self) -> None:
        text = self._panel.facts
        room = self._facts.width()
        self._facts.setText(self._facts.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, room))
        self._facts.setToolTip(text)

    def _update_theme(self) -> None:
        space = self._theme.space
        self._row.setContentsMargins(space(2), space(1), space(1), space(0.5))
        self._row.setSpacing(space(1))
        self._update_facts()


class _TitleButton(QToolButton):
    """A small line-drawn button, sharp at every scale."""

    def __init__(self, shape: str, tip: str, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self._shape = shape
        self._theme = theme
        self.setToolTip(tip)
        self.setAccessibleName(tip)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)

    def sizeHint(self) -> QSize:
        """As high as a line of text."""
        side = self._theme.pixels("title")
        return QSize(side, side)

    def paintEvent(self, _: QPaintEvent) -> None:
        """Draw a cross, or a window over a window."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        lit = self.underMouse() or self.hasFocus()
        painter.setPen(QPen(self._theme.color("text" if lit else "faint"), 1.4 * self._theme.scale))
        side = min(self.width(), self.height())
        box = self.rect().toRectF().adjusted(side * 0.28, side * 0.28, -side * 0.28, -side * 0.28)
        if self._shape == "close":
            painter.drawLine(box.topLeft(), box.bottomRight())
            painter.drawLine(box.topRight(), box.bottomLeft())
        else:
            painter.drawRect(box)
            painter.drawLine(box.topLeft() + (box.topRight() - box.topLeft()) * 0.5, box.topRight())
