"""Inside one step: what each part of each layer added to the residual stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QPoint, QRect, QRectF, QSize, Qt
from PySide6.QtGui import (
    QFont,
    QFontMetrics,
    QHelpEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
)
from PySide6.QtWidgets import QAbstractScrollArea, QFrame, QToolTip, QWidget

from explorer.app.state import AppState
from explorer.core.inside import InsideReading
from explorer.core.moments import Moment, StageName
from explorer.panels.generation.watched_view import DIMMED_OPACITY, WatchedView
from explorer.panels.widgets.elided_text import write_elided
from explorer.panels.widgets.piece_text import plain_tooltip, shorten, visible_piece
from explorer.theme import Theme


@dataclass(frozen=True, slots=True)
class PartRow:
    """One part of one layer at the viewed step.

    Attributes
    ----------
    layer : int or None
        None for what enters the first layer.
    kind : str
        ``input``, ``self-attention``, ``cross-attention`` or ``feed-forward``.
    added : float or None
        Length of what it added to the stream; None for the input.
    stream : float
        Length of the stream after it.
    neurons : tuple of (int, float)
        Strongest feed-forward activations, strongest first; empty for attention.
    """

    layer: int | None
    kind: str
    added: float | None
    stream: float
    neurons: tuple[tuple[int, float], ...] = ()


def part_rows(reading: InsideReading, place: int) -> tuple[PartRow, ...]:
    """The parts that the stream passed at the step in row ``place``, in order."""
    rows = [PartRow(None, "input", None, float(reading.input_norms[place]))]
    for part in reading.sublayers:
        neurons: tuple[tuple[int, float], ...] = ()
        if part.neurons is not None and part.activations is not None:
            pairs = zip(part.neurons[place].tolist(), part.activations[place].tolist(), strict=True)
            neurons = tuple(pairs)
        added, stream = float(part.added_norms[place]), float(part.stream_norms[place])
        rows.append(PartRow(part.layer, part.kind, added, stream, neurons))
    return tuple(rows)


class InsideView(WatchedView):
    """The viewed step's parts as rows of bars, with the moment that is stood at highlighted."""

    def __init__(self, state: AppState, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(state, theme, "inside_view", parent)
        self.canvas = InsideCanvas(state, theme, self)
        self.set_canvas(self.canvas)

    @property
    def facts(self) -> str:
        """What is read, for the panel's title."""
        step = self.state.step
        if self.reading is None or step is None:
            return ""
        return f"step {step.index} · Euclidean lengths in the residual stream"

    def update_theme(self) -> None:
        """Colours or sizes changed."""
        self.canvas.update_theme()

    def _update_reading(self) -> None:
        reading, place = self.reading, self.place_of(self.state.viewed_step)
        run, step = self.state.run, self.state.step
        if reading is None or run is None or step is None:
            self.canvas.show_rows((), None, dimmed=False)
            self.line.setText("")
            return
        if place is not None:
            self.canvas.show_rows(part_rows(reading, place), self._layer(), dimmed=self.state.stale)
        else:
            self.canvas.dim()
        where = "at the mask" if run.family == "encoder-only" else "at the position"
        notes = " ".join(reading.notes)
        piece = shorten(visible_piece(step.token.piece), 30)
        self.line.setText(f"{where} that {piece} was chosen from" + (f" · {notes}" if notes else ""))
        self.line.setToolTip(plain_tooltip("\n".join(reading.notes)) if notes else "")

    def _layer(self) -> int | None:
        moment = self.state.generation.moment
        return moment.layer if moment is not None and moment.stage == self.canvas.stage else None


class InsideCanvas(QAbstractScrollArea):
    """Rows of bars: what a part added, the stream after it, and the strongest neurons.

    All bars have one scale. A click on a row, or Up and Down, stands at its layer.
    """

    def __init__(self, state: AppState, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.state = state
        self.theme = theme
        self.rows: tuple[PartRow, ...] = ()
        self._layer: int | None = None
        self._dimmed = False
        self._most = 1.0
        self.setObjectName("inside_canvas")
        self.setAccessibleName("What each part of each layer added")
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.viewport().setAutoFillBackground(False)
        self.viewport().setMouseTracking(True)
        self.update_theme()

    @property
    def stage(self) -> StageName:
        """Which stack the rows are of."""
        run = self.state.run
        return "encoder" if run is not None and run.family == "encoder-only" else "decoder"

    def show_rows(self, rows: Sequence[PartRow], layer: int | None, *, dimmed: bool) -> None:
        """Show these, those of ``layer`` highlighted and in sight."""
        moved = layer != self._layer or len(rows) != len(self.rows)
        self.rows, self._layer, self._dimmed = tuple(rows), layer, dimmed
        self._most = max([1e-9, *(row.stream for row in rows), *(row.added or 0.0 for row in rows)])
        self._update_range()
        if moved and layer is not None:
            self._ensure_visible(layer)
        self.viewport().update()

    def dim(self) -> None:
        """What is shown belongs to another step, and the viewed one is being read."""
        self._dimmed = True
        self.viewport().update()

    def update_theme(self) -> None:
        """Colours or sizes changed."""
        self._number, self._small = self.theme.mono("small"), self.theme.prose("small")
        self._bold = self.theme.prose("small", bold=True)
        self._neuron_width = QFontMetrics(self._number).horizontalAdvance("000: +0.00")
        self.row_height = QFontMetrics(self._number).height() + self.theme.space(0.6)
        self.header_height = QFontMetrics(self._small).height() + self.theme.space(0.4)
        self._update_range()
        self.viewport().update()

    def sizeHint(self) -> QSize:  # noqa: D102
        return QSize(self.theme.space(70), self.header_height + 6 * self.row_height)

    def minimumSizeHint(self) -> QSize:  # noqa: D102
        return QSize(self.theme.space(15), self.header_height + 2 * self.row_height)

    # -- where things are -----------------------------------------------------------------------

    def _update_range(self) -> None:
        room = self.viewport().height() - self.header_height
        bar = self.verticalScrollBar()
        bar.setRange(0, max(0, len(self.rows) * self.row_height - room))
        bar.setPageStep(max(1, room))
        bar.setSingleStep(self.row_height)

    def row_rect(self, row: int) -> QRect:
        """Where a row is in the viewport."""
        top = self.header_height + row * self.row_height - self.verticalScrollBar().value()
        return QRect(0, top, self.viewport().width(), self.row_height)

    def row_at(self, point: QPoint) -> int | None:
        """The row under a point of the viewport."""
        if point.y() < self.header_height:
            return None
        row = (point.y() - self.row_rect(0).top()) // self.row_height
        return row if 0 <= row < len(self.rows) else None

    def _ensure_visible(self, layer: int) -> None:
        found = [i for i, row in enumerate(self.rows) if row.layer == layer]
        if not found:
            return
        bar = self.verticalScrollBar()
        if self.row_rect(found[-1]).bottom() > self.viewport().height():
            bar.setValue(bar.value() + self.row_rect(found[-1]).bottom() - self.viewport().height())
        if self.row_rect(found[0]).top() < self.header_height:
            bar.setValue(bar.value() + self.row_rect(found[0]).top() - self.header_height)

    def _columns(self) -> list[tuple[int, int]]:
        """(left, width) of layer, part, added, stream and neurons."""
        measure, space = QFontMetrics(self._small).horizontalAdvance, self.theme.space
        layer = measure("layer 00") + space(1)
        part = measure("cross-attention") + space(1.5)
        rest = self.viewport().width() - layer - part - space(1)
        bars = max(space(10), min(rest * 3 // 10, space(36)))
        if rest - 2 * bars < self._neuron_width:
            bars = rest // 2  # no neuron would fit whole: the tooltip has them
        lefts = [0, layer, layer + part, layer + part + bars, layer + part + 2 * bars]
        return [*zip(lefts, [layer, part, bars, bars, max(0, rest - 2 * bars)], strict=True)]

    # -- painting -------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: D102
        if not self.rows:
            return
        columns = self._columns()
        with QPainter(self.viewport()) as painter:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setOpacity(DIMMED_OPACITY if self._dimmed else 1.0)
            headings = ("", "", "added", "stream", self._neuron_heading(columns[4][1]))
            for (left, width), text in zip(columns, headings, strict=True):
                self._write(painter, QRect(left, 0, width, self.header_height), text, self._small, "muted")
            painter.setClipRect(self.viewport().rect().adjusted(0, self.header_height, 0, 0))
            for place, row in enumerate(self.rows):
                rect = self.row_rect(place)
                if rect.bottom() >= self.header_height and rect.top() <= self.viewport().height():
                    self._paint_row(painter, rect, row, columns, first=self._is_first(place))

    def _is_first(self, place: int) -> bool:
        return place == 0 or self.rows[place - 1].layer != self.rows[place].layer

    def _paint_row(
        self, painter: QPainter, rect: QRect, row: PartRow, columns: list[tuple[int, int]], *, first: bool
    ) -> None:
        theme = self.theme
        if row.layer is not None and row.layer == self._layer:
            painter.fillRect(rect, theme.color("selection_fill"))
            painter.fillRect(QRect(rect.left(), rect.top(), 3, rect.height()), theme.color("selection"))
        if first and row.layer is not None:
            painter.setPen(QPen(theme.color("grid"), 1))
            painter.drawLine(rect.topLeft(), rect.topRight())
        cells = [QRect(left, rect.top(), width, rect.height()) for left, width in columns]
        if first and row.layer is not None:
            inner = cells[0].adjusted(theme.space(1), 0, 0, 0)
            self._write(painter, inner, f"layer {row.layer}", self._bold, "text")
        self._write(painter, cells[1], row.kind, self._small, "muted" if row.layer is None else "text")
        color = {"cross-attention": "source", "input": "before"}.get(row.kind, "after")
        if row.added is not None:
            self._paint_bar(painter, cells[2], row.added, color)
        self._paint_bar(painter, cells[3], row.stream, "before")
        self._write(painter, cells[4], self._fitting(row.neurons, cells[4].width()), self._number, "muted")

    def _neuron_heading(self, room: int) -> str:
        """In as many words as there is room for; none where no neuron would fit whole."""
        measure = QFontMetrics(self._small).horizontalAdvance
        if room < self._neuron_width:
            return ""
        return next((text for text in ("strongest neurons", "neurons") if measure(text) <= room), "")

    def _fitting(self, neurons: Sequence[tuple[int, float]], room: int) -> str:
        """As many neurons as there is room for whole; the tooltip has all."""
        texts = [f"{index}: {_signed(value)}" for index, value in neurons]
        measure = QFontMetrics(self._number).horizontalAdvance
        while texts and measure("  ".join(texts)) > room:
            texts.pop()
        return "  ".join(texts)

    def _paint_bar(self, painter: QPainter, rect: QRect, value: float, color: str) -> None:
        number = QFontMetrics(self._number).horizontalAdvance("00.00") + self.theme.space(1.2)
        room = max(4, rect.width() - number - self.theme.space(1.5))
        self._write(painter, rect, _short(value), self._number, "text", right=number)
        height = self.row_height // 2
        top = rect.top() + (rect.height() - height) // 2
        bar = QRectF(rect.left() + number, top, max(1.0, room * value / self._most), height)
        painter.fillRect(bar, self.theme.color(color))

    def _write(
        self, painter: QPainter, rect: QRect, text: str, font: QFont, color: str, *, right: int = 0
    ) -> None:
        if right:
            rect = QRect(rect.left(), rect.top(), right - self.theme.space(0.7), rect.height())
        write_elided(painter, rect, text, font, self.theme.color(color), right=right > 0)

    # -- gestures -------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: D102
        self._update_range()

    def scrollContentsBy(self, dx: int, dy: int) -> None:  # noqa: D102
        self.viewport().update()

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: D102
        row = self.row_at(event.position().toPoint())
        if event.button() is Qt.MouseButton.LeftButton and row is not None:
            self._stand_at(self.rows[row].layer)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: D102
        move = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1}.get(Qt.Key(event.key()))
        layers = [row.layer for row in self.rows if row.layer is not None]
        if move is None or not layers:
            super().keyPressEvent(event)
            return
        here = self._layer if self._layer is not None else (-1 if move > 0 else layers[-1] + 1)
        self._stand_at(min(max(here + move, 0), layers[-1]))

    def _stand_at(self, layer: int | None) -> None:
        moment = None if layer is None or layer == self._layer else Moment(self.stage, layer)
        self.state.generation.set_playing(False)
        self.state.generation.set_moment(moment)

    def viewportEvent(self, event: QEvent) -> bool:  # noqa: D102
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            text = self.describe(event.pos())
            QToolTip.showText(event.globalPos(), plain_tooltip(text) if text else "", self.viewport())
            return True
        return super().viewportEvent(event)

    def describe(self, point: QPoint) -> str:
        """The plain text of the tooltip at a point of the viewport."""
        place = self.row_at(point)
        if place is None:
            return "Bars have one scale: the length of the vector added, and of the residual stream after it."
        row = self.rows[place]
        if row.added is None:
            return f"what enters layer 0: length {row.stream:.6g}"
        lines = [
            f"layer {row.layer} · {row.kind}",
            f"added a vector of length {row.added:.6g}; the stream is {row.stream:.6g} long after it",
        ]
        if row.neurons:
            lines.append("strongest activations of the feed-forward network, by magnitude:")
            lines += [f"  neuron {index}: {value:.6g}" for index, value in row.neurons]
        return "\n".join([*lines, "Click stands at this layer: its attention opens too."])


def _short(value: float) -> str:
    """A length in at most five characters."""
    return f"{value:.2f}" if value < 100 else f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")
