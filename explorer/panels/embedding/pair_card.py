"""The angle tool's reading: the true angle large, the one on screen beside it, and why they differ."""

from __future__ import annotations

import math
from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from explorer.core.records import PairReading
from explorer.panels.widgets.piece_text import plain_tooltip, shorten, visible_piece
from explorer.theme import Theme

_LONGEST_PIECE = 40


@dataclass(frozen=True, slots=True)
class CardText:
    """What the card says.

    Attributes
    ----------
    pieces : tuple of (str, str)
        The two tokens and the side that colours each.
    reading : PairReading or None
        None while it is being measured.
    on_screen_degrees : float
        The angle in the picture; NaN where it cannot be seen.
    reason : str
        Why the two angles differ.
    where : str
        Which vectors were measured, e.g. ``256 dimensions``.
    """

    pieces: tuple[tuple[str, str], tuple[str, str]]
    reading: PairReading | None
    on_screen_degrees: float
    reason: str
    where: str


class PairCard(QWidget):
    """Two tokens compared, to be read from the back of a classroom."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("pair_card")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._theme = theme
        self._text: CardText | None = None
        self._compact = False

    def set_compact(self, compact: bool) -> None:
        """In a low panel, show only the tokens and the figures."""
        if compact != self._compact:
            self._compact = compact
            self.updateGeometry()
            self.update()

    @property
    def text(self) -> CardText | None:
        """What is shown."""
        return self._text

    def set_text(self, text: CardText) -> None:
        """Show another reading."""
        if text == self._text:
            return
        self._text = text
        said = spoken(text)
        self.setAccessibleName(said.replace("\n", ", "))
        self.setToolTip(plain_tooltip(said))
        self.update()

    def sizeHint(self) -> QSize:
        """Three lines and the large figures."""
        rows = self._rows()[: 3 if self._compact else 5]
        return QSize(300, round(sum(rows) + self._theme.space(3.2)))

    def minimumSizeHint(self) -> QSize:
        """The same height, and as narrow as a panel gets."""
        return QSize(200, self.sizeHint().height())

    def _rows(self) -> tuple[float, float, float, float, float]:
        theme = self._theme
        small, body = QFontMetricsF(theme.prose("small")).height(), QFontMetricsF(theme.mono("body")).height()
        large = QFontMetricsF(theme.mono("large")).height()
        return (body, small, large, small, small)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Tokens, figures, the rest, the reason."""
        text = self._text
        if text is None:
            return
        theme = self._theme
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(theme.color("border"), 1.0))
        painter.setBrush(theme.color("raised"))
        painter.drawRoundedRect(
            QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), theme.space(1), theme.space(1)
        )
        pad = theme.space(1.5)
        left, right = float(pad), float(self.width() - pad)
        heights = self._rows()
        y = float(theme.space(1))
        self._paint_heading(painter, QRectF(left, y, right - left, heights[0]), text)
        y += heights[0] + theme.space(0.5)
        after = self._paint_figures(painter, QPointF(left, y), right, text)
        if self._compact:
            # What room the figures leave says why the two angles differ.
            painter.setFont(theme.prose("small"))
            painter.setPen(theme.color("muted"))
            room = QRectF(after, y, right - after, heights[1] + heights[2])
            wrap = Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextWordWrap
            needed = QFontMetricsF(painter.font()).boundingRect(room, wrap, text.reason)
            if room.width() > 0 and room.contains(needed.adjusted(1, 1, -1, -1)):
                painter.drawText(room, wrap, text.reason)
            return
        y += heights[1] + heights[2] + theme.space(0.3)
        reading = text.reading
        rest = "" if reading is None else _rest(reading)
        self._elided(painter, QRectF(left, y, right - left, heights[3]), rest, theme.mono("small"), "text")
        y += heights[3]
        self._elided(
            painter, QRectF(left, y, right - left, heights[4]), text.reason, theme.prose("small"), "muted"
        )

    def _paint_heading(self, painter: QPainter, box: QRectF, text: CardText) -> None:
        theme = self._theme
        mono, small = theme.mono("body", bold=True), theme.prose("small")
        metrics = QFontMetricsF(mono)
        where = QFontMetricsF(small).horizontalAdvance(text.where)
        between = " ∠ "
        pieces = [visible_piece(shorten(piece, _LONGEST_PIECE)) for piece, _ in text.pieces]
        needed = sum(metrics.horizontalAdvance(piece) for piece in (*pieces, between))
        if needed + where + theme.space(2) <= box.width():
            painter.setFont(small)
            painter.setPen(theme.color("muted"))
            painter.drawText(box, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, text.where)
        room = (box.width() - metrics.horizontalAdvance(between)) / 2.0
        painter.setFont(mono)
        x = box.left()
        for place, (piece, (_, side)) in enumerate(zip(pieces, text.pieces, strict=True)):
            other = metrics.horizontalAdvance(pieces[1 - place])
            shown = metrics.elidedText(piece, Qt.TextElideMode.ElideRight, max(room, 2.0 * room - other))
            x = self._run(painter, x, box, shown, theme.side_color(side))
            if place == 0:
                x = self._run(painter, x, box, between, theme.color("muted"))

    def _paint_figures(self, painter: QPainter, corner: QPointF, right: float, text: CardText) -> float:
        """Paint the large figures; returns where they end."""
        theme = self._theme
        reading = text.reading
        angle = "…" if reading is None else degrees(reading.angle_degrees)
        cosine = "…" if reading is None else figure(reading.cosine, 3)
        figures = (
            ("true angle", angle, theme.mono("large", bold=True), theme.color("selection")),
            ("cosine", cosine, theme.mono("large"), theme.color("text")),
            ("on screen", degrees(text.on_screen_degrees), theme.mono("large"), theme.color("muted")),
        )
        heights = self._rows()
        x = corner.x()
        for caption, value, font, color in figures:
            width = max(
                QFontMetricsF(theme.prose("small")).horizontalAdvance(caption),
                QFontMetricsF(font).horizontalAdvance(value),
            )
            if x + width > right + 1.0:
                break
            box = QRectF(x, corner.y(), width + 2, heights[1])
            self._elided(painter, box, caption, theme.prose("small"), "muted")
            painter.setFont(font)
            painter.setPen(color)
            painter.drawText(QRectF(x, corner.y() + heights[1], width + 2, heights[2]), value)
            x += width + theme.space(3.5)
        return x

    def _run(self, painter: QPainter, x: float, box: QRectF, text: str, color: QColor) -> float:
        width = QFontMetricsF(painter.font()).horizontalAdvance(text)
        painter.setPen(color)
        painter.drawText(QRectF(x, box.top(), width + 2, box.height()), Qt.AlignmentFlag.AlignVCenter, text)
        return x + width

    def _elided(self, painter: QPainter, box: QRectF, text: str, font: QFont, color: str) -> None:
        painter.setFont(font)
        painter.setPen(self._theme.color(color))
        shown = QFontMetricsF(font).elidedText(text, Qt.TextElideMode.ElideRight, box.width())
        painter.drawText(box, Qt.AlignmentFlag.AlignVCenter, shown)


def degrees(value: float) -> str:
    """An angle as it is written, or a dash where there is none."""
    return "–" if math.isnan(value) else f"{value:.1f}°"


def figure(value: float, digits: int) -> str:
    """A number as it is written, or a dash where there is none."""
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def _rest(reading: PairReading) -> str:
    first, second = reading.norms
    if math.isnan(reading.cosine):
        return "A zero vector has no direction, so there is no angle."
    return f"dot {reading.dot:.3f} · lengths {first:.3f}, {second:.3f} · distance {reading.distance:.3f}"


def spoken(text: CardText) -> str:
    """The whole reading, for a tooltip and for a screen reader."""
    (first, _), (second, _) = text.pieces
    lines = [f"{visible_piece(first)} and {visible_piece(second)}, {text.where}"]
    if text.reading is not None:
        lines += [
            f"true angle {text.reading.angle_degrees:.6f}°, cosine {text.reading.cosine:.6f}",
            _rest(text.reading),
        ]
    lines += [f"on screen {degrees(text.on_screen_degrees)}", text.reason]
    return "\n".join(lines)
