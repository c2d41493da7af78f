"""What stands under an attention map: the weight under the pointer, and the scale of the colours."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QFontMetricsF, QImage, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from explorer import colormaps
from explorer.colormaps import ColorScale
from explorer.theme import Theme


@dataclass(frozen=True, slots=True)
class Reading:
    """One weight in words.

    Attributes
    ----------
    query, key : str
        The two tokens' labels; both empty for a plain sentence.
    query_side, key_side : str
        Whose colours they have.
    facts : str
        What follows them: the number.
    more : str
        What else is worth saying where there is room.
    """

    query: str = ""
    key: str = ""
    query_side: str = ""
    key_side: str = ""
    facts: str = ""
    more: str = ""

    @property
    def text(self) -> str:
        """All of it as one line."""
        facts = " · ".join(part for part in (self.facts, self.more) if part)
        return f"{self.query} → {self.key}  {facts}" if self.query or self.key else facts


class Readout(QWidget):
    """One line: query → key and its weight. Long tokens are shortened, numbers never."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("attention_readout")
        self.theme = theme
        self.reading = Reading()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    @property
    def text(self) -> str:
        """What the line says, unshortened."""
        return self.reading.text

    def set_reading(self, reading: Reading) -> None:
        """Say another thing."""
        if reading != self.reading:
            self.reading = reading
            self.setAccessibleName(reading.text)
            self.update()

    def sizeHint(self) -> QSize:  # noqa: D102
        return QSize(100, round(QFontMetricsF(self.theme.mono("body", bold=True)).height()) + 2)

    def minimumSizeHint(self) -> QSize:  # noqa: D102
        return self.sizeHint()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: D102
        reading = self.reading
        with QPainter(self) as painter:
            align = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextSingleLine
            room = QRectF(self.rect())
            if not (reading.query or reading.key):
                painter.setFont(self.theme.prose("body"))
                painter.setPen(self.theme.color("muted"))
                text = QFontMetricsF(painter.font()).elidedText(
                    reading.facts, Qt.TextElideMode.ElideRight, room.width()
                )
                painter.drawText(room, align, text)
                return
            bold, plain = self.theme.mono("body", bold=True), self.theme.mono("body")
            metrics, arrow = QFontMetricsF(bold), " → "
            wanted = metrics.horizontalAdvance(reading.query), metrics.horizontalAdvance(reading.key)
            for facts in (f"  {reading.facts} · {reading.more}", f"  {reading.facts}"):
                left = room.width() - metrics.horizontalAdvance(arrow) - metrics.horizontalAdvance(facts)
                if left >= min(sum(wanted), self.theme.space(60)) and reading.more:
                    break
            half = max(left / 2, 0.0)
            # The shorter token gives what it does not need to the longer one.
            query_room = wanted[0] if wanted[0] <= half else max(half, left - wanted[1])
            key_room = left - min(wanted[0], query_room)
            elide = Qt.TextElideMode.ElideRight
            for text, color, font in (
                (metrics.elidedText(reading.query, elide, query_room), reading.query_side, bold),
                (arrow, "", plain),
                (metrics.elidedText(reading.key, elide, key_room), reading.key_side, bold),
                (facts, "text", plain),
            ):
                painter.setFont(font)
                ink = self.theme.color("text") if color == "text" else self.theme.side_color(color)
                painter.setPen(ink)
                painter.drawText(room, align, text)
                room.setLeft(room.left() + QFontMetricsF(font).horizontalAdvance(text))


class ScaleBar(QWidget):
    """The colours and what weights they stand for; a mark shows the weight under the pointer."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("attention_scale_bar")
        self.setAccessibleName("Colour scale")
        self.theme = theme
        self.scale = ColorScale()
        self._marked: float | None = None

    def set_scale(self, scale: ColorScale) -> None:
        """Show another scale."""
        if scale != self.scale:
            self.scale = scale
            self.updateGeometry()
            self.update()
        low = f"{scale.bottom:.4g} or less" if scale.transform == "log" else "0"
        self.setToolTip(
            f"Colour scale ({scale.transform}): the palest colour is {low}, the strongest {scale.top:.4g}."
        )

    def set_marked(self, weight: float | None) -> None:
        """Mark where on the scale a weight is."""
        if weight != self._marked:
            self._marked = weight
            self.update()

    def update_theme(self) -> None:
        """Colours or sizes changed."""
        self.updateGeometry()
        self.update()

    @property
    def ends(self) -> tuple[str, str]:
        """What stands left and right of the bar."""
        low = f"≤{self.scale.bottom:.2g}" if self.scale.transform == "log" else "0"
        return low, f"{self.scale.top:.3g}"

    def sizeHint(self) -> QSize:  # noqa: D102
        metrics = QFontMetricsF(self.theme.mono("small"))
        words = sum(metrics.horizontalAdvance(text) for text in (*self.ends, self._name()))
        # Gaps are rounded one by one, so that their sum is: a step more keeps the last digit whole.
        return QSize(
            math.ceil(words) + 4 * self.theme.space(1) + self.theme.space(17), round(metrics.height()) + 2
        )

    def minimumSizeHint(self) -> QSize:  # noqa: D102
        return self.sizeHint()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: D102
        with QPainter(self) as painter:
            room = QRectF(self.rect())
            self.draw(painter, room)
            if self._marked is not None:
                bar = self._bar(room)
                x = bar.left() + bar.width() * float(self.scale.positions(self._marked))
                painter.setPen(QPen(self.theme.color("selection"), 3.0))
                painter.drawLine(round(x), round(bar.top()) - 2, round(x), round(bar.bottom()) + 2)

    def draw(self, painter: QPainter, room: QRectF) -> None:
        """Draw the scale without the mark, into ``room``."""
        painter.setFont(self.theme.mono("small"))
        metrics = QFontMetricsF(painter.font())
        gap = self.theme.space(1)
        middle = Qt.AlignmentFlag.AlignVCenter
        low, high = self.ends
        painter.setPen(self.theme.color("muted"))
        painter.drawText(room, middle, self._name())
        left = metrics.horizontalAdvance(self._name()) + 2 * gap
        painter.drawText(room.adjusted(left, 0, 0, 0), middle, low)
        bar = self._bar(room)
        painter.drawText(room.adjusted(bar.right() + gap, 0, 0, 0), middle, high)
        table = colormaps.pixels(
            colormaps.heat_table(self.theme.palette.heat_low, self.theme.palette.heat_high)
        )
        strip = np.ascontiguousarray(table[None, :])
        image = QImage(strip.data, len(table), 1, 4 * len(table), QImage.Format.Format_RGB32)
        painter.drawImage(bar, image)
        painter.setPen(QPen(self.theme.color("faint"), 1.0))
        painter.drawRect(bar)
        for tick in self.scale.ticks()[1:-1]:
            x = bar.left() + bar.width() * float(self.scale.positions(tick))
            painter.drawLine(round(x), round(bar.bottom()), round(x), round(bar.bottom()) + 2)

    def _bar(self, room: QRectF) -> QRectF:
        """Where the colours are."""
        metrics = QFontMetricsF(self.theme.mono("small"))
        before = metrics.horizontalAdvance(self._name() + self.ends[0]) + 3 * self.theme.space(1)
        return QRectF(before, room.top() + 3, self.theme.space(16), room.height() - 6)

    def _name(self) -> str:
        return self.scale.transform
