"""The source text on one line, with the characters of one token marked in it."""

from __future__ import annotations

from typing import cast

from PySide6.QtCore import QPointF, QRect, QSize, Qt
from PySide6.QtGui import (
    QFontMetrics,
    QPainter,
    QPaintEvent,
    QPen,
    QTextCharFormat,
    QTextLayout,
    QTextLine,
    QTextOption,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from explorer.panels.widgets.piece_text import visible_text
from explorer.theme import Theme

# Characters laid out on each side of the marked ones: more than a line holds, however long the text.
_AROUND = 400
_NAME = "source"


class SourceLine(QWidget):
    """The heading of the source tokens: its name, the text, and which characters are marked.

    Spans are Python character indices, half-open; Qt counts UTF-16 units, so they are translated.
    """

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme = theme
        self._text = ""
        self._span: tuple[int, int] | None = None
        self._room = 0
        self.setObjectName("source_line")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Source text")

    @property
    def span(self) -> tuple[int, int] | None:
        """The marked characters; None when there are none."""
        return self._span

    @property
    def marked_text(self) -> str:
        """The marked characters themselves."""
        return "" if self._span is None else self._text[slice(*self._span)]

    def show_text(self, text: str, span: tuple[int, int] | None) -> None:
        """Show ``text`` with ``span`` marked; the line is shifted so that the span is in sight."""
        if (text, span) != (self._text, self._span):
            self._text, self._span = text, span
            self.setAccessibleDescription(text[:_AROUND])
            self.update()

    @property
    def name_width(self) -> int:
        """How much of the line its name takes, in pixels."""
        return QFontMetrics(self.theme.prose("small", bold=True)).horizontalAdvance(_NAME)

    def set_room(self, width: int) -> None:
        """Leave so many pixels free behind the name, for what else stands there."""
        if width != self._room:
            self._room = width
            self.update()

    def sizeHint(self) -> QSize:  # noqa: D102
        return QSize(200, QFontMetrics(self.theme.prose("body")).height() + self.theme.space(0.5))

    def minimumSizeHint(self) -> QSize:  # noqa: D102
        return QSize(0, self.sizeHint().height())

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: D102
        theme = self.theme
        painter = QPainter(self)
        self._paint_word(painter, _NAME, self.rect(), "source", bold=True)
        area = self.rect().adjusted(self.name_width + self._room + theme.space(2), 0, 0, 0)
        if self._span is not None:
            start, end = self._span
            place = f"character {start}" if end - start == 1 else f"characters {start}–{end}"
            width = QFontMetrics(theme.prose("small")).horizontalAdvance(place)
            if width < area.width() / 2:
                right = QRect(self.width() - width, 0, width + 1, self.height())
                self._paint_word(painter, place, right, "muted")
                area.setRight(right.left() - theme.space(2))
        self._paint_text(painter, area)
        painter.end()

    def _paint_word(
        self, painter: QPainter, word: str, rect: QRect, color: str, *, bold: bool = False
    ) -> None:
        font = self.theme.prose("small", bold=bold)
        painter.setFont(font)
        painter.setPen(self.theme.color(color))
        painter.drawText(rect, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, word)

    def _paint_text(self, painter: QPainter, area: QRect) -> None:
        theme = self.theme
        start, end = self._span or (0, 0)
        first, last = max(0, start - _AROUND), min(len(self._text), end + _AROUND)
        shown = visible_text(self._text[first:last])
        layout = QTextLayout(shown, theme.prose("body"))
        option = QTextOption()
        option.setWrapMode(QTextOption.WrapMode.NoWrap)
        layout.setTextOption(option)
        begin, stop = _utf16_length(shown[: start - first]), _utf16_length(shown[: end - first])
        if self._span is not None:
            layout.setFormats([self._mark(begin, stop - begin)])
        layout.beginLayout()
        line = layout.createLine()
        # Nothing to wrap at: the line may be as wide as it likes, the clip cuts it.
        line.setLineWidth(1e6)
        layout.endLayout()
        width = line.naturalTextWidth()
        x_begin, x_stop = _cursor_x(line, begin), _cursor_x(line, stop)
        middle = (x_begin + x_stop) / 2
        shift = max(0.0, min(middle - area.width() / 2, width - area.width()))
        painter.setClipRect(area)
        painter.setPen(theme.color("muted"))
        layout.draw(painter, QPointF(area.left() - shift, (self.height() - line.height()) / 2))
        self._paint_ellipses(painter, area, left=shift > 0 or first > 0, right=shift + area.width() < width)
        painter.setClipping(False)

    def _mark(self, start: int, length: int) -> QTextLayout.FormatRange:
        mark = QTextLayout.FormatRange()
        mark.start, mark.length = start, length
        style = QTextCharFormat()
        style.setBackground(self.theme.color("selection_fill"))
        style.setForeground(self.theme.color("text"))
        style.setFontUnderline(True)
        style.setUnderlineColor(self.theme.color("selection"))
        mark.format = style
        return mark

    def _paint_ellipses(self, painter: QPainter, area: QRect, *, left: bool, right: bool) -> None:
        painter.setFont(self.theme.prose("body"))
        width = QFontMetrics(painter.font()).horizontalAdvance("…") + self.theme.space(0.5)
        for wanted, rect in (
            (left, QRect(area.left(), 0, width, self.height())),
            (right, QRect(area.right() - width + 1, 0, width, self.height())),
        ):
            if wanted:
                painter.fillRect(rect, self.theme.color("surface"))
                painter.setPen(QPen(self.theme.color("muted")))
                painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, "…")


def _utf16_length(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _cursor_x(line: QTextLine, position: int) -> float:
    x, _ = cast(tuple[float, int], line.cursorToX(position))
    return x
