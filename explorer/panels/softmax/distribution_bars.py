"""The most likely tokens as pairs of bars: what the model said, and what is left after reshaping."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QEvent, QPoint, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QFont,
    QFontMetricsF,
    QHelpEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPolygonF,
    QResizeEvent,
)
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from explorer.app.state import Emphasis
from explorer.panels.softmax.bar_content import MOST_BARS, Bar, BarContent, exact_text
from explorer.panels.softmax.bar_geometry import LABEL_COSINE, LABEL_SINE, Axis, BarGeometry, make_axis
from explorer.panels.softmax.bar_labels import label_of, labelled_bars, paint_label
from explorer.panels.softmax.bar_legend import paint_cut_bar
from explorer.panels.softmax.bar_overlays import paint_draw_counts, paint_running_sum, running_sum_room
from explorer.panels.widgets.piece_text import plain_tooltip, visible_piece
from explorer.theme import Theme

_EMPTY = BarContent((), 0, 0.0, 0.0, 0, ())
_FADED = 0.4
_LABEL_SHARE = 0.28
_MARKER = "chosen"
_LABEL_STEPS = 14.0
# Bars that are wide enough to be told apart from the back of a room.
_LEAST_SLOT_STEPS = 4.75
_FEWEST_BARS = 10


@dataclass(frozen=True, slots=True)
class _LaneText:
    """A cut line at ``x``, and where its text goes: in which row above the plot, from ``left``."""

    x: float
    text: str
    left: float
    width: float
    row: int
    dashed: bool


class DistributionBars(QWidget):
    """Pairs of bars by rank, with the cuts, the chosen token and the axis; painted, not composed.

    Signals
    -------
    room_changed
        There is room for more bars than before, or for fewer.
    bar_hovered : int or None
        The pointer came onto the bar of that token ID, or left all bars.
    bar_clicked : (int or None, bool)
        A click on the bar of that token ID, or beside all bars; True with Ctrl or Shift held.
    """

    room_changed = Signal()
    bar_hovered = Signal(object)
    bar_clicked = Signal(object, bool)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme = theme
        self.setObjectName("distribution_bars")
        self.setAccessibleName("Probabilities of the most likely next tokens, before and after reshaping")
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self._content = _EMPTY
        self._message = ""
        self._geometry: BarGeometry | None = None
        self._draws: npt.NDArray[np.int64] | None = None
        self._drawn_total = 0
        self._emphasis: Callable[[int], Emphasis] = lambda _token_id: Emphasis.NONE
        self._logarithmic = False
        self._fitted = False
        self._faded = False
        self._cumulative = False
        self._hovered: int | None = None
        self._room = MOST_BARS

    # -- what is shown ------------------------------------------------------------------------------

    @property
    def content(self) -> BarContent:
        """What is drawn."""
        return self._content

    @property
    def message(self) -> str:
        """Why there are no bars; empty while there are."""
        return self._message

    def set_content(self, content: BarContent) -> None:
        """Draw other bars."""
        self._content, self._message = content, ""
        self._geometry = None
        self.update()

    def show_message(self, message: str) -> None:
        """Say in one sentence why there are no bars."""
        self._content, self._message = _EMPTY, message
        self._geometry = None
        self.update()

    def set_draws(self, counts: npt.NDArray[np.int64] | None) -> None:
        """Mark how often each token, (V,) by ID, was drawn; None takes the marks away."""
        self._draws = counts
        self._drawn_total = 0 if counts is None else int(counts.sum())
        self._geometry = None
        self.update()

    def set_emphasis(self, emphasis: Callable[[int], Emphasis]) -> None:
        """How strongly to draw each token ID, asked anew at every painting."""
        self._emphasis = emphasis
        self.update()

    def set_axis(self, *, logarithmic: bool, fitted: bool) -> None:
        """Choose the y axis: linear or logarithmic, from 0 to 1 or fitted to the bars."""
        self._logarithmic, self._fitted = logarithmic, fitted
        self._geometry = None
        self.update()

    def set_cumulative(self, shown: bool) -> None:
        """Whether the running sum is drawn, on a linear axis of its own from 0 to 1."""
        self._cumulative = shown
        self._geometry = None
        self.update()

    def set_faded(self, faded: bool) -> None:
        """Draw pale: the bars belong to a text that has changed since."""
        self._faded = faded
        self.update()

    @property
    def axis(self) -> Axis:
        """The y axis in force."""
        values = [p for bar in self._content.bars for p in (bar.before, bar.after)]
        return make_axis(values, logarithmic=self._logarithmic, fitted=self._fitted)

    def minimumSizeHint(self) -> QSize:  # noqa: D102
        return QSize(self.theme.space(30), self.theme.space(26))

    def sizeHint(self) -> QSize:  # noqa: D102
        return self.minimumSizeHint()

    # -- geometry -----------------------------------------------------------------------------------

    @property
    def _small(self) -> QFont:
        return self.theme.mono("small")

    @property
    def _row(self) -> float:
        return QFontMetricsF(self.theme.prose("small")).height() + self.theme.space(0.4)

    def geometry_of_bars(self) -> BarGeometry:
        """Where everything stands at the present size; worked out anew when something has changed."""
        if self._geometry is None:
            self._geometry = self._place_bars()
        return self._geometry

    @property
    def room(self) -> int:
        """How many bars can stand side by side and be told apart."""
        return self._room

    def _update_room(self) -> None:
        room = min(MOST_BARS, max(_FEWEST_BARS, int(self.width() / self.theme.space(_LEAST_SLOT_STEPS))))
        if room != self._room:
            self._room = room
            self.room_changed.emit()

    def update_geometry(self) -> None:
        """Sizes changed."""
        self._geometry = None
        self._update_room()
        self.updateGeometry()
        self.update()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: D102
        super().resizeEvent(event)
        self._geometry = None
        self._update_room()

    def _place_bars(self) -> BarGeometry:
        bars, space = self._content.bars, self.theme.space
        metrics = QFontMetricsF(self._small)
        depth = self._label_length() * LABEL_SINE + metrics.height() * LABEL_COSINE + space(1)
        right = self._label_length() * LABEL_COSINE + metrics.height() * LABEL_SINE * 0.5
        if self._cumulative:
            right = max(right, running_sum_room(self.theme))
        plot = QRectF(0, 0, self.width() - right, self.height() - depth)
        # As wide as any choice of ticks needs: how many there are depends on the rows above the plot.
        texts = {text for most in range(2, 8) for _, text in self.axis.ticks(most)}
        plot.setLeft(max(metrics.horizontalAdvance(text) for text in texts) + space(1.5))
        gap_at = len(bars) - 1 if self._content.gap else None
        count = len(bars) + (gap_at is not None)
        lane = self._lane_texts(BarGeometry(plot, count, gap_at, depth))
        # One row at least, and the triangle's height: the marker of a bar that reaches the top.
        rows = max((mark.row for mark in lane), default=0) + 1 + (self._draws is not None)
        plot.setTop(self._row * rows + space(1.6))
        return BarGeometry(plot, count, gap_at, depth)

    def _label_length(self) -> float:
        """Room for the longest label, in its own direction."""
        metrics = QFontMetricsF(self._small)
        widths = (metrics.horizontalAdvance(label_of(bar.piece)) for bar in self._content.bars)
        longest = max(widths, default=0.0)
        return float(min(longest, self.theme.space(_LABEL_STEPS), self.height() * _LABEL_SHARE / LABEL_SINE))

    def bar_rect(self, token_id: int) -> QRectF | None:
        """The column of a token's pair of bars; None when it has none."""
        for index, bar in enumerate(self._content.bars):
            if bar.token_id == token_id:
                return self.geometry_of_bars().column(index)
        return None

    # -- painting -----------------------------------------------------------------------------------

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: D102
        painter = QPainter(self)
        if not self._content.bars:
            painter.setFont(self.theme.prose())
            painter.setPen(self.theme.color("muted"))
            align = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(self.rect(), align, self._message)
            return
        painter.setRenderHint(QPainter.RenderHint.TextAntialiasing)
        if self._faded:
            painter.setOpacity(_FADED)
        geometry, axis = self.geometry_of_bars(), self.axis
        if geometry.plot.height() > self._row:
            self._paint_axis(painter, geometry, axis)
            self._paint_cut_region(painter, geometry)
            self._paint_emphasis(painter, geometry)
            self._paint_bars(painter, geometry, axis)
            if self._cumulative:
                paint_running_sum(painter, self.theme, geometry, self._content)
            if self._draws is not None:
                self._paint_counts(painter, geometry, axis, self._draws)
            self._paint_cut_lines(painter, geometry)
            self._paint_chosen(painter, geometry, axis)
            self._paint_labels(painter, geometry)
        painter.end()

    def _paint_axis(self, painter: QPainter, geometry: BarGeometry, axis: Axis) -> None:
        plot = geometry.plot
        painter.setFont(self._small)
        height = QFontMetricsF(self._small).height()
        for value, text in axis.ticks(min(7, int(plot.height() / (height * 1.6)))):
            y = round(plot.bottom() - axis.way(value) * plot.height())
            painter.setPen(QPen(self.theme.color("faint" if y == round(plot.bottom()) else "grid")))
            painter.drawLine(QPointF(plot.left(), y), QPointF(plot.right(), y))
            painter.setPen(self.theme.color("muted"))
            area = QRectF(0, y - height / 2, plot.left() - self.theme.space(1), height)
            painter.drawText(area, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, text)

    def _paint_cut_region(self, painter: QPainter, geometry: BarGeometry) -> None:
        """A shade behind each cut bar's slot."""
        shade = self.theme.color("cut", 70)
        for index, bar in enumerate(self._content.bars):
            if not bar.kept:
                painter.fillRect(geometry.column(index), shade)

    def _paint_emphasis(self, painter: QPainter, geometry: BarGeometry) -> None:
        for index, bar in enumerate(self._content.bars):
            emphasis = self._emphasis(bar.token_id)
            if emphasis is Emphasis.NONE:
                continue
            width = {Emphasis.SELECTED: 2.5, Emphasis.HOVERED: 1.2}.get(emphasis, 1.0) * self.theme.scale
            style = Qt.PenStyle.DashLine if emphasis is Emphasis.SAME else Qt.PenStyle.SolidLine
            column = geometry.column(index)
            least = self.theme.space(1.6)
            if column.width() < least:
                spare = (least - column.width()) / 2
                column.adjust(-spare, 0, spare, 0)
            painter.setPen(QPen(self.theme.color("selection"), width, style))
            painter.setBrush(
                self.theme.color("selection_fill", 255 if emphasis is Emphasis.SELECTED else 130)
            )
            painter.drawRect(column)
        painter.setBrush(Qt.BrushStyle.NoBrush)

    def _paint_bars(self, painter: QPainter, geometry: BarGeometry, axis: Axis) -> None:
        painter.setPen(Qt.PenStyle.NoPen)
        before, after = self.theme.color("before"), self.theme.color("after")
        plot = geometry.plot
        for index, bar in enumerate(self._content.bars):
            left, right = self._pair(geometry, axis, index)
            if bar.kept:
                painter.fillRect(left, before)
                painter.fillRect(right, after)
            else:
                paint_cut_bar(painter, left, self.theme)
            if self._draws is not None and bar.kept:
                # A little wider than the bar, so that it is seen on the green and off it.
                share = int(self._draws[bar.token_id]) / self._drawn_total
                y = round(plot.bottom() - axis.way(share) * plot.height())
                mark = QRectF(right.left() - 1, y - 1, right.width() + 2, max(2, round(2 * self.theme.scale)))
                painter.fillRect(mark, self.theme.color("text"))

    def _paint_counts(
        self, painter: QPainter, geometry: BarGeometry, axis: Axis, draws: npt.NDArray[np.int64]
    ) -> None:
        counts = [int(draws[bar.token_id]) for bar in self._content.bars]
        base, height = geometry.plot.bottom(), geometry.plot.height()
        places = []
        for index, count in enumerate(counts):
            bars = min(bar.top() for bar in self._pair(geometry, axis, index))
            mark = base - axis.way(count / self._drawn_total) * height
            places.append(QPointF(round(geometry.middle(index)), round(min(bars, mark)) - 1))
        paint_draw_counts(painter, self.theme, geometry.plot.left() + 1, places, counts)

    def _pair(self, geometry: BarGeometry, axis: Axis, index: int) -> tuple[QRectF, QRectF]:
        """Where a token's two bars stand, on whole pixels."""
        bar, plot = self._content.bars[index], geometry.plot
        width = max(1, round(geometry.slot_width * 0.4))
        middle = round(geometry.middle(index))
        base = round(plot.bottom())

        def standing(x: float, probability: float) -> QRectF:
            # At least one pixel high: a token that can be chosen is never drawn as nothing.
            height = max(round(axis.way(probability) * plot.height()), 1 if probability > 0 else 0)
            return QRectF(x, base - height, width, height)

        return standing(middle - width, bar.before), standing(middle, bar.after)

    def _lane_texts(self, geometry: BarGeometry) -> list[_LaneText]:
        """Cuts that fall among the bars get a line; where none does, the last one gets an arrow."""
        content, plot = self._content, geometry.plot
        metrics = QFontMetricsF(self.theme.prose("small"))
        shown = len(content.bars) - content.gap
        texts: dict[int, list[str]] = {}
        for line in content.cut_lines:
            if line.rank < shown:
                texts.setdefault(line.rank, []).append(line.text)
        placed: list[_LaneText] = []
        marker_left, marker_width = self._marker_span(geometry)
        clear = marker_left + marker_width + self.theme.space(1)
        for rank, names in sorted(texts.items()):
            text = f"{', '.join(names)}: cut from here"
            width = metrics.horizontalAdvance(text) + self.theme.space(1)
            x = round(geometry.left(rank))
            left = max(0.0, min(x + self.theme.space(0.5), self.width() - width))
            # The lowest row is the chosen token's marker's too; a text beside it makes way.
            if left < clear <= left + width and clear + width <= self.width():
                left = clear
            row = int(left < clear and marker_left < left + width)
            while any(left < mark.left + mark.width and row == mark.row for mark in placed):
                row += 1
            placed.append(_LaneText(x, text, left, width, row, True))
        if content.cut_lines and not placed:
            last = content.cut_lines[-1]
            text = f"{last.text} cuts from rank {last.rank:,} →"
            width = metrics.horizontalAdvance(text) + 1
            placed.append(_LaneText(round(plot.right()), text, plot.right() - width, width, 0, False))
        return placed

    def _paint_cut_lines(self, painter: QPainter, geometry: BarGeometry) -> None:
        painter.setFont(self.theme.prose("small"))
        color = self.theme.color("error")
        lowest = geometry.plot.top() - self.theme.space(0.5) - self._row
        marks = self._lane_texts(geometry)
        areas = [QRectF(mark.left, lowest - self._row * mark.row, mark.width, self._row) for mark in marks]
        painter.setPen(QPen(color, max(1.0, 1.4 * self.theme.scale), Qt.PenStyle.DashLine))
        for mark, area in zip(marks, areas, strict=True):
            if mark.dashed:
                painter.drawLine(QPointF(mark.x, area.top()), QPointF(mark.x, geometry.plot.bottom()))
        # The texts last: one that made way to the right may stand across another cut's line.
        painter.setPen(color)
        for mark, area in zip(marks, areas, strict=True):
            painter.fillRect(area, self.theme.color("surface"))
            painter.drawText(area, Qt.AlignmentFlag.AlignVCenter, mark.text)

    def _chosen_index(self) -> int | None:
        return next((i for i, bar in enumerate(self._content.bars) if bar.chosen), None)

    def _marker_span(self, geometry: BarGeometry) -> tuple[float, float]:
        """(left, width) of the chosen token's marker; width 0 where none is on show."""
        index = self._chosen_index()
        if index is None:
            return 0.0, 0.0
        width = QFontMetricsF(self.theme.prose("small", bold=True)).horizontalAdvance(_MARKER)
        left = min(max(geometry.middle(index) - width / 2, geometry.plot.left()), self.width() - width)
        return left, width

    def _paint_chosen(self, painter: QPainter, geometry: BarGeometry, axis: Axis) -> None:
        index = self._chosen_index()
        if index is None:
            return
        painter.setFont(self.theme.prose("small", bold=True))
        metrics = QFontMetricsF(painter.font())
        side = self.theme.space(0.8)
        left, width = self._marker_span(geometry)
        # Clear of every bar that the word would stand in front of.
        tops = [
            min(self._pair(geometry, axis, i)[0].top(), self._pair(geometry, axis, i)[1].top())
            for i in range(len(self._content.bars))
            if i == index or left - 2 <= geometry.middle(i) <= left + width + 2
        ]
        own = self._pair(geometry, axis, index)
        # The counts of the draws stand on the bars.
        counts = metrics.height() if self._draws is not None else 0.0
        tip = QPointF(geometry.middle(index), min(own[0].top(), own[1].top()) - 2 - counts)
        bottom = min(tops) - side - 3 - counts
        color = self.theme.color("generated")
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(color, 1))
        painter.drawLine(QPointF(tip.x(), bottom), tip)
        painter.setBrush(color)
        painter.drawPolygon(
            QPolygonF([tip, tip + QPointF(-side * 0.7, -side), tip + QPointF(side * 0.7, -side)])
        )
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        area = QRectF(left, bottom - metrics.height(), width + 1, metrics.height())
        painter.fillRect(area.adjusted(-2, 2, 2, 0), self.theme.color("surface", 220))
        painter.drawText(area, Qt.AlignmentFlag.AlignCenter, _MARKER)

    def _paint_labels(self, painter: QPainter, geometry: BarGeometry) -> None:
        metrics = QFontMetricsF(self._small)
        length, bars = self._label_length(), self._content.bars
        for index in labelled_bars(bars, geometry, self._emphasis, metrics.height()):
            emphasis = self._emphasis(bars[index].token_id)
            paint_label(painter, self.theme, geometry, index, bars[index], emphasis, length)
        if geometry.gap_at is not None:
            x = geometry.plot.left() + (geometry.gap_at + 0.5) * geometry.slot_width
            painter.setFont(self._small)
            painter.setPen(self.theme.color("muted"))
            width = metrics.horizontalAdvance("⋯")
            area = QRectF(x - width, geometry.plot.bottom() - metrics.height(), 2 * width, metrics.height())
            painter.drawText(area, Qt.AlignmentFlag.AlignCenter, "⋯")

    # -- the pointer --------------------------------------------------------------------------------

    def _token_at(self, point: QPointF) -> int | None:
        if not self._content.bars:
            return None
        index = self.geometry_of_bars().bar_at(point)
        return None if index is None else self._content.bars[index].token_id

    def _hover(self, token_id: int | None) -> None:
        if token_id != self._hovered:
            self._hovered = token_id
            self.bar_hovered.emit(token_id)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: D102
        self._hover(self._token_at(event.position()))

    def leaveEvent(self, _event: QEvent) -> None:  # noqa: D102
        self._hover(None)

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: D102
        if event.button() is Qt.MouseButton.LeftButton:
            held = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
            self.bar_clicked.emit(self._token_at(event.position()), bool(event.modifiers() & held))

    def event(self, event: QEvent) -> bool:  # noqa: D102
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            self._show_tooltip(event.globalPos(), self._token_at(QPointF(event.pos())))
            return True
        return super().event(event)

    def _show_tooltip(self, at: QPoint, token_id: int | None) -> None:
        bar = next((bar for bar in self._content.bars if bar.token_id == token_id), None)
        QToolTip.showText(at, "" if bar is None else plain_tooltip(describe(bar)), self)


def describe(bar: Bar) -> str:
    """All that is known of a bar, a line for each fact."""
    after = exact_text(bar.after) if bar.kept else "cut"
    return (
        f"{visible_piece(bar.piece)}\nID {bar.token_id} · rank {bar.rank:,}\n"
        f"model {exact_text(bar.before)}\nreshaped {after}"
    )
