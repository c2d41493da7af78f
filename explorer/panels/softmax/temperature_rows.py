"""One sentence at one temperature, as a row that can be taken."""

from __future__ import annotations

import html

from PySide6.QtCore import QEvent, QSize, Qt
from PySide6.QtGui import (
    QEnterEvent,
    QFontMetrics,
    QKeyEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
)
from PySide6.QtWidgets import QAbstractButton, QBoxLayout, QHBoxLayout, QLabel, QSizePolicy, QWidget

from explorer.core.temperature_grid import TemperatureGrid
from explorer.panels.widgets.elided_label import ElidedLabel
from explorer.panels.widgets.piece_text import visible_text
from explorer.theme import Theme

_WAITING = "…"
_WIDE_STEPS = 90.0


class TemperatureRow(QAbstractButton):
    """Temperature, what came out, and how long it is; a click takes it."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme = theme
        self._current = False
        self._pale = False
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.temperature = self._label("temperature")
        self.text_label = self._label("text")
        self.text_label.setTextFormat(Qt.TextFormat.RichText)
        self.text_label.setWordWrap(True)
        self.count = ElidedLabel(self)
        self.count.setObjectName("row_count")
        self.count.setProperty("role", "reading")
        self.count.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.count.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
        self.count.setAlignment(Qt.AlignmentFlag.AlignTop)
        policy = QSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        policy.setHeightForWidth(True)
        self.text_label.setSizePolicy(policy)
        self._row = QHBoxLayout(self)
        self._row.addWidget(self.temperature, 0, Qt.AlignmentFlag.AlignTop)
        self._said = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._said.addWidget(self.text_label, 1)
        self._said.addWidget(self.count)
        self._row.addLayout(self._said, 1)
        policy = QSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.update_theme()

    def _label(self, name: str) -> QLabel:
        label = QLabel(self)
        label.setObjectName(f"row_{name}")
        label.setTextFormat(Qt.TextFormat.PlainText)
        label.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        return label

    def show_row(self, grid: TemperatureGrid, index: int, *, current: bool, pale: bool) -> None:
        """Show a row of ``grid``: ``current`` where its settings are in force, ``pale`` when out of date."""
        row = grid.rows[index]
        self._current, self._pale = current, pale
        name = "greedy" if row.params.greedy else f"T {row.params.temperature:g}"
        place = grid.first_difference(index)
        self.temperature.setText(name)
        if row.finished and not row.text.strip():
            said = html.escape(f"nothing: {row.stop_reason}")
            self.text_label.setText(f"<i style='color: {self.theme.color('muted').name()}'>{said}</i>")
        else:
            self.text_label.setText(self._markup(*grid.parts(index), going_on=not row.finished))
        tokens = f"{len(row.token_ids)} token{'s' * (len(row.token_ids) != 1)}"
        if index == grid.reference or not row.finished:
            told = tokens
        elif place is None:
            told = f"{tokens} · the same"
        else:
            told = f"{tokens} · differs from token {place}"
        self.count.setText(told)
        ended = f"\nEnded: {row.stop_reason}." if row.stop_reason else ""
        self.setToolTip(f"{row.params.summary}{ended}\nClick: take these settings, and generate anew.")
        self.setAccessibleName(f"{name}: {visible_text(row.text) or 'not there yet'}. {told}")
        self.setEnabled(row.finished)
        self.update()

    def _markup(self, same: str, different: str, rest: str, *, going_on: bool) -> str:
        """Plain text in three colours; whatever the model wrote, it is no markup."""
        theme = self.theme

        def span(text: str, style: str) -> str:
            return f"<span style='{style}'>{html.escape(visible_text(text))}</span>" if text else ""

        quiet = f"color: {theme.color('muted').name()};"
        marked = (
            f"background: {theme.color('selection_fill').name()}; color: {theme.color('text').name()};"
            " font-weight: 600; text-decoration: underline;"
        )
        plain = f"color: {theme.color('muted' if self._pale else 'text').name()};"
        whole = span(same, quiet if different else plain) + span(different, marked) + span(rest, plain)
        return whole + (span(f" {_WAITING}", quiet) if going_on else "")

    def update_theme(self) -> None:
        """Colours or sizes changed; the text is written anew by the next `show_row`."""
        space = self.theme.space
        self._row.setContentsMargins(space(1.2), space(0.6), space(1.2), space(0.6))
        self._row.setSpacing(space(1.5))
        self._said.setSpacing(space(0.5))
        self._arrange(self.width())
        self.temperature.setFont(self.theme.mono("body", bold=True))
        self.text_label.setFont(self.theme.prose("body"))
        width = QFontMetrics(self.theme.mono("body", bold=True)).horizontalAdvance("greedy")
        self.temperature.setFixedWidth(width + space(0.5))
        self.temperature.setStyleSheet(f"color: {self.theme.color('text').name()};")

    def _arrange(self, width: int) -> None:
        """How long it is stands beside the text, or below it where that would leave the text no room."""
        wide = width >= self.theme.space(_WIDE_STEPS)
        direction = QBoxLayout.Direction.LeftToRight if wide else QBoxLayout.Direction.TopToBottom
        if self._said.direction() is not direction:
            self._said.setDirection(direction)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: D102
        self._arrange(event.size().width())
        super().resizeEvent(event)

    def hasHeightForWidth(self) -> bool:  # noqa: D102
        return True

    def heightForWidth(self, width: int) -> int:  # noqa: D102
        self._arrange(width)
        return self._row.heightForWidth(width)

    def sizeHint(self) -> QSize:  # noqa: D102
        return self._row.sizeHint()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: D102
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.click()
        else:
            super().keyPressEvent(event)

    def enterEvent(self, event: QEnterEvent) -> None:  # noqa: D102
        super().enterEvent(event)
        self.update()

    def leaveEvent(self, event: QEvent) -> None:  # noqa: D102
        super().leaveEvent(event)
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: D102
        painter, theme = QPainter(self), self.theme
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = self.rect().toRectF().adjusted(0.5, 0.5, -0.5, -0.5)
        lit = self.isEnabled() and (self.underMouse() or self.hasFocus())
        edge = "selection" if self._current else ("accent" if lit else "border")
        painter.setPen(QPen(theme.color(edge), (1.8 if self._current else 1.0) * theme.scale))
        painter.setBrush(theme.color("raised" if lit else "surface"))
        painter.drawRoundedRect(area, theme.space(0.8), theme.space(0.8))
        painter.end()
