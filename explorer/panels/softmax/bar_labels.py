"""The slanted labels below the bars: which bars get one, and how it is painted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QFontMetricsF, QPainter, QPen

from explorer.app.state import Emphasis
from explorer.panels.softmax.bar_content import Bar
from explorer.panels.softmax.bar_geometry import LABEL_DEGREES, LABEL_SINE, BarGeometry
from explorer.panels.widgets.piece_text import visible_piece
from explorer.theme import Theme

# Of the tokens that are cut, one in so many has a label: they are there, but not what to look at.
_CUT_STRIDE = 4

# Pieces are painted over and over, and few of them change from one slider move to the next.
label_of = lru_cache(maxsize=1024)(visible_piece)


def labelled_bars(
    bars: Sequence[Bar], geometry: BarGeometry, emphasis: Callable[[int], Emphasis], height: float
) -> list[int]:
    """Which bars get a label: what the eye looks for first, then by rank, as far as there is room."""
    weight = [emphasis(bar.token_id) for bar in bars]
    order = sorted(range(len(bars)), key=lambda i: (-weight[i], not bars[i].chosen, bars[i].rank))
    least = height * 1.1 / LABEL_SINE
    stride = max(1, -int(-least // geometry.slot_width))
    taken: list[float] = []
    found: list[int] = []
    for index in order:
        bar = bars[index]
        every = stride if bar.kept else max(stride, _CUT_STRIDE)
        if not (weight[index] or bar.chosen) and geometry.slot(index) % every:
            continue
        x = geometry.middle(index)
        if all(abs(x - other) >= least for other in taken):
            taken.append(x)
            found.append(index)
    return found


def paint_label(
    painter: QPainter,
    theme: Theme,
    geometry: BarGeometry,
    index: int,
    bar: Bar,
    emphasis: Emphasis,
    length: float,
) -> None:
    """Write a bar's piece below it, at most ``length`` pixels long; pale where the token is cut."""
    font = theme.mono("small", bold=bar.chosen or emphasis is Emphasis.SELECTED)
    painter.setFont(font)
    metrics = QFontMetricsF(font)
    text = metrics.elidedText(label_of(bar.piece), Qt.TextElideMode.ElideRight, length)
    height = metrics.height()
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.translate(geometry.middle(index), geometry.plot.bottom() + theme.space(0.5))
    painter.rotate(LABEL_DEGREES)
    area = QRectF(height * 0.2, -height / 2, metrics.horizontalAdvance(text) + 1, height)
    if emphasis is not Emphasis.NONE:
        painter.setPen(QPen(theme.color("selection"), 2 if emphasis is Emphasis.SELECTED else 1))
        painter.setBrush(theme.color("selection_fill"))
        painter.drawRoundedRect(area.adjusted(-3, 0.5, 3, -0.5), 3, 3)
    name = "generated" if bar.chosen else ("text" if bar.kept else "faint")
    painter.setPen(theme.color(name))
    painter.drawText(area, Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextSingleLine, text)
    painter.restore()
