"""A ranking of tokens as a flow of chips, each with its value; hover and click like any token."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QFontMetricsF, QMouseEvent, QPainter, QPaintEvent, QPen, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from explorer.app.state import Emphasis
from explorer.panels.widgets.piece_text import shorten, visible_piece
from explorer.theme import Theme

_LONGEST = 18


class TokenChips(QWidget):
    """Tokens in order of a value, best first, wrapped over as many lines as there is room for.

    Signals
    -------
    hovered : int or None
        Token ID under the pointer.
    clicked : int, bool
        Token ID; True with Ctrl or Shift held.
    """

    hovered = Signal(object)
    clicked = Signal(int, bool)

    def __init__(
        self, theme: Theme, emphasis: Callable[[int], Emphasis], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self._theme = theme
        self._emphasis = emphasis
        self._chips: list[tuple[int, str, str]] = []
        self._hint = ""
        self._boxes: list[tuple[QRectF, int]] = []
        self._over: int | None = None

    def show_tokens(self, chips: Sequence[tuple[int, str, str]]) -> None:
        """Show (token ID, piece, value as text)."""
        self._chips = [(i, shorten(visible_piece(piece), _LONGEST), value) for i, piece, value in chips]
        self._hint = ""
        self._place()

    def show_hint(self, text: str) -> None:
        """Say one sentence instead."""
        self._chips, self._hint = [], text
        self._place()

    @property
    def token_ids(self) -> tuple[int, ...]:
        """The tokens that found room, in order."""
        return tuple(token_id for _, token_id in self._boxes)

    def sizeHint(self) -> QSize:
        """Three lines."""
        return QSize(260, round(3 * self._line() + self._theme.space(1)))

    def minimumSizeHint(self) -> QSize:
        """Two lines of one chip."""
        return QSize(120, round(2 * self._line()))

    def chip_center(self, token_id: int) -> QPointF:
        """Where a token's chip is drawn."""
        return next(box.center() for box, known in self._boxes if known == token_id)

    def paintEvent(self, event: QPaintEvent) -> None:
        """The chips, or the sentence."""
        theme = self._theme
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self._hint:
            painter.setFont(theme.prose("small"))
            painter.setPen(theme.color("muted"))
            flags = Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(QRectF(self.rect()), flags, self._hint)
            return
        mono, small = theme.mono("body"), theme.mono("small")
        metrics = QFontMetricsF(mono)
        pad = theme.space(0.8)
        for (box, token_id), (_, piece, value) in zip(self._boxes, self._chips, strict=False):
            emphasis = self._emphasis(token_id)
            strong = emphasis is Emphasis.SELECTED
            color = "selection" if emphasis >= Emphasis.HOVERED else "border"
            painter.setPen(QPen(theme.color(color), 2.5 if strong else 1.0))
            painter.setBrush(theme.color("selection_fill" if strong else "raised"))
            painter.drawRoundedRect(box, theme.space(0.7), theme.space(0.7))
            painter.setFont(mono)
            painter.setPen(theme.color("text"))
            inner = box.adjusted(pad, 0, -pad, 0)
            painter.drawText(inner, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, piece)
            painter.setFont(small)
            painter.setPen(theme.color("muted"))
            rest = inner.adjusted(metrics.horizontalAdvance(piece) + pad, 0, 0, 0)
            painter.drawText(rest, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight, value)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Wrap anew."""
        self._place()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Name the token under the pointer."""
        self._set_over(self._at(event.position()))

    def leaveEvent(self, event: QEvent) -> None:
        """Nothing is under the pointer any more."""
        self._set_over(None)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Select the token."""
        token_id = self._at(event.position())
        if token_id is not None and event.button() == Qt.MouseButton.LeftButton:
            held = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
            self.clicked.emit(token_id, bool(event.modifiers() & held))

    def update_theme(self) -> None:
        """Colours or sizes changed."""
        self._place()
        self.updateGeometry()

    def _line(self) -> float:
        return QFontMetricsF(self._theme.mono("body")).height() + self._theme.space(1.1)

    def _place(self) -> None:
        theme = self._theme
        piece_width = QFontMetricsF(theme.mono("body")).horizontalAdvance
        value_width = QFontMetricsF(theme.mono("small")).horizontalAdvance
        gap, line = theme.space(0.7), self._line()
        x, y = 1.0, 1.0
        self._boxes = []
        for token_id, piece, value in self._chips:
            width = piece_width(piece) + value_width(value) + 3 * theme.space(0.8)
            if x > 1.0 and x + width > self.width():
                x, y = 1.0, y + line
            if y + line - gap > self.height():
                break
            self._boxes.append((QRectF(x, y, width, line - gap), token_id))
            x += width + gap
        self.update()

    def _at(self, position: QPointF) -> int | None:
        return next((token_id for box, token_id in self._boxes if box.contains(position)), None)

    def _set_over(self, token_id: int | None) -> None:
        if token_id != self._over:
            self._over = token_id
            self.hovered.emit(token_id)
