"""The logit lens: what each layer would already choose, at every step."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPoint, QRect, QRectF, QSize, Qt, Signal
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
from explorer.core.inside import LogitLens
from explorer.core.selection import TokenRef
from explorer.panels.generation.watched_view import DIMMED_OPACITY, WatchedView
from explorer.panels.widgets.elided_text import write_elided
from explorer.panels.widgets.piece_text import plain_tooltip, probability_text, shorten, visible_piece
from explorer.theme import Theme

SOURCE = "logit lens (nostalgebraist, 2020)"
TOP = 5


class LensView(WatchedView):
    """A table of the top token per layer and step, with one line that reads a cell."""

    def __init__(self, state: AppState, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(state, theme, "lens_view", parent)
        self.canvas = LensCanvas(state, theme, self)
        self.set_canvas(self.canvas)
        self.canvas.cell_hovered.connect(self._on_cell_hovered)
        state.cloud_changed.connect(self.canvas.viewport().update)

    @property
    def facts(self) -> str:
        """What it is and where it comes from, for the panel's title."""
        return SOURCE

    def hint_text(self) -> str:
        """Why there is nothing to show, in one sentence; empty where there is."""
        hint = super().hint_text()
        if not hint and self.reading is not None and self.reading.lens is None:
            return (
                "This model has no language-model head, so that its layers cannot be asked what they think."
            )
        return hint

    def update_theme(self) -> None:
        """Colours or sizes changed."""
        self.canvas.update_theme()

    def _update_reading(self) -> None:
        reading = self.reading
        lens = None if reading is None else reading.lens
        self.canvas.show_lens(lens, self.known_steps, dimmed=self.state.stale)
        self._on_cell_hovered(-1, -1)

    def _on_cell_hovered(self, layer: int, step: int) -> None:
        lens, run, viewed = self.canvas.lens, self.state.run, self.state.viewed_step
        if lens is None or run is None:
            self.line.setText("")
            return
        if layer < 0:
            self.line.setText(f"{SOURCE}: the model's own output head after every layer")
            if viewed is not None and viewed < self.known_steps:
                first = first_layer(lens, viewed)
                piece = shorten(visible_piece(run.steps[viewed].token.piece), 24)
                told = "never on top" if first is None else f"on top from {lens.labels[first]} on"
                self.line.setText(f"step {viewed}: {piece} {told} · {SOURCE}")
            return
        self.line.setText(self.canvas.read_cell(layer, step))


def first_layer(lens: LogitLens, step: int) -> int | None:
    """The first row from which on the chosen token stays on top; None where it is not on top at the end."""
    ranks = lens.chosen_ranks[step]
    first = None
    for layer in range(len(ranks) - 1, -1, -1):
        if ranks[layer] != 0:
            break
        first = layer
    return first


class LensCanvas(QAbstractScrollArea):
    """The table itself: rows are layers, columns steps; only cells in sight are painted.

    Signals
    -------
    cell_hovered : int, int
        Row and step under the pointer; -1, -1 when there is none.
    """

    cell_hovered = Signal(int, int)

    def __init__(self, state: AppState, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.state = state
        self.theme = theme
        self.lens: LogitLens | None = None
        self._steps = 0
        self._dimmed = False
        self._hovered = (-1, -1)
        self._viewed: int | None = None
        self.setObjectName("lens_canvas")
        self.setAccessibleName("Top token per layer and step")
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.viewport().setAutoFillBackground(False)
        self.viewport().setMouseTracking(True)
        self.update_theme()

    def show_lens(self, lens: LogitLens | None, steps: int, *, dimmed: bool) -> None:
        """Show the first ``steps`` of what was read; ``dimmed`` when they are of an older text."""
        self.lens, self._dimmed, self._steps = lens, dimmed, 0 if lens is None else steps
        self._update_ranges()
        viewed = self.state.viewed_step
        if viewed is not None and viewed != self._viewed and viewed < self._steps:
            self._ensure_visible(viewed)
        self._viewed = viewed
        self.viewport().update()

    def update_theme(self) -> None:
        """Colours or sizes changed."""
        self._piece, self._piece_bold = self.theme.mono("small"), self.theme.mono("small", bold=True)
        self._small, self._small_bold = self.theme.prose("small"), self.theme.prose("small", bold=True)
        self.row_height = QFontMetrics(self._piece).height() + self.theme.space(0.7)
        self.header_height = self.row_height
        self.pitch = self.theme.space(15)
        self.label_width = QFontMetrics(self._small_bold).horizontalAdvance("layer 00") + self.theme.space(
            1.5
        )
        self._update_ranges()
        self.viewport().update()

    def sizeHint(self) -> QSize:  # noqa: D102
        return QSize(self.label_width + 4 * self.pitch, self.header_height + 6 * self.row_height)

    def minimumSizeHint(self) -> QSize:  # noqa: D102
        return QSize(self.theme.space(15), self.header_height + 2 * self.row_height)

    # -- where things are -----------------------------------------------------------------------

    @property
    def _rows(self) -> int:
        return 0 if self.lens is None else len(self.lens.labels)

    def _update_ranges(self) -> None:
        view = self.viewport()
        for bar, size, room, step in (
            (
                self.horizontalScrollBar(),
                self._steps * self.pitch,
                view.width() - self.label_width,
                self.pitch,
            ),
            (
                self.verticalScrollBar(),
                self._rows * self.row_height,
                view.height() - self.header_height,
                self.row_height,
            ),
        ):
            bar.setRange(0, max(0, size - room))
            bar.setPageStep(max(1, room))
            bar.setSingleStep(step)

    def cell_rect(self, row: int, step: int) -> QRect:
        """Where a cell is in the viewport; row -1 is the heading."""
        left = self.label_width + step * self.pitch - self.horizontalScrollBar().value()
        top = 0 if row < 0 else self.header_height + row * self.row_height - self.verticalScrollBar().value()
        return QRect(left, top, self.pitch, self.row_height)

    def cell_at(self, point: QPoint) -> tuple[int, int]:
        """Row and step under a point; -1 for each that there is none of."""
        step = (
            (point.x() - self.cell_rect(0, 0).left()) // self.pitch if point.x() >= self.label_width else -1
        )
        row = -1
        if point.y() >= self.header_height:
            row = (point.y() - self.cell_rect(0, 0).top()) // self.row_height
        return (row if row < self._rows else -1), (step if 0 <= step < self._steps else -1)

    def _ensure_visible(self, step: int) -> None:
        bar, rect = self.horizontalScrollBar(), self.cell_rect(0, step)
        if rect.right() > self.viewport().width():
            bar.setValue(bar.value() + rect.right() - self.viewport().width() + 2)
        if self.cell_rect(0, step).left() < self.label_width:
            bar.setValue(bar.value() + self.cell_rect(0, step).left() - self.label_width)

    # -- painting -------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: D102
        lens, run = self.lens, self.state.run
        if lens is None or run is None:
            return
        view = self.viewport()
        start = self.horizontalScrollBar().value() // self.pitch
        steps = range(start, min(self._steps, start + view.width() // self.pitch + 2))
        first = self.verticalScrollBar().value() // self.row_height
        rows = range(first, min(self._rows, first + view.height() // self.row_height + 2))
        viewed = self.state.viewed_step
        with QPainter(view) as painter:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setOpacity(DIMMED_OPACITY if self._dimmed else 1.0)
            painter.setClipRect(view.rect().adjusted(self.label_width, self.header_height, 0, 0))
            for row in rows:
                for step in steps:
                    self._paint_cell(painter, lens, row, step)
            painter.setClipRect(view.rect().adjusted(self.label_width, 0, 0, 0))
            for step in steps:
                heading = self.cell_rect(-1, step).adjusted(self.theme.space(0.6), 0, -2, 0)
                text = f"{step} {visible_piece(run.steps[step].token.piece)}"
                font = self._piece_bold if step == viewed else self._piece
                self._write(painter, heading, text, font, "generated")
            if viewed is not None and viewed in steps:
                painter.setPen(QPen(self.theme.color("selection"), 2.5))
                painter.setBrush(Qt.BrushStyle.NoBrush)
                column = self.cell_rect(-1, viewed)
                painter.drawRoundedRect(
                    QRectF(column.left() + 1.5, 1.5, column.width() - 3, self._column_height() - 3), 3, 3
                )
            painter.setClipRect(view.rect().adjusted(0, self.header_height, 0, 0))
            for row in rows:
                self._paint_label(painter, lens, row)

    def _column_height(self) -> int:
        return min(self.viewport().height(), self.cell_rect(self._rows - 1, 0).bottom() + 1)

    def _paint_label(self, painter: QPainter, lens: LogitLens, row: int) -> None:
        moment, run = self.state.generation.moment, self.state.run
        stack = "encoder" if run is not None and run.family == "encoder-only" else "decoder"
        stands = moment is not None and moment.stage == stack and lens.labels[row] == f"layer {moment.layer}"
        rect = self.cell_rect(row, 0)
        label = QRect(0, rect.top(), self.label_width - self.theme.space(0.5), rect.height())
        if stands:
            painter.fillRect(label, self.theme.color("selection_fill"))
            painter.fillRect(QRect(0, rect.top(), 3, rect.height()), self.theme.color("selection"))
        inner = label.adjusted(self.theme.space(0.8), 0, 0, 0)
        self._write(painter, inner, lens.labels[row], self._small_bold if stands else self._small, "text")

    def _paint_cell(self, painter: QPainter, lens: LogitLens, row: int, step: int) -> None:
        theme, rect = self.theme, self.cell_rect(row, step).adjusted(1, 1, -1, -1)
        probability = float(lens.top_probabilities[step, row, 0])
        on_top = lens.chosen_ranks[step, row] == 0
        painter.fillRect(
            rect, theme.color("generated" if on_top else "before", round(25 + 130 * probability))
        )
        if on_top:
            painter.fillRect(QRect(rect.left(), rect.top(), 3, rect.height()), theme.color("generated"))
        if (row, step) == self._hovered:
            painter.setPen(QPen(theme.color("selection"), 1.5))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(rect)
        inner = rect.adjusted(theme.space(0.9), 0, -theme.space(0.5), 0)
        number = probability_text(probability)
        width = QFontMetrics(self._piece).horizontalAdvance("0.000")
        self._write(painter, inner, number, self._piece, "text", right=True)
        left = inner.adjusted(0, 0, -width - theme.space(0.6), 0)
        piece = visible_piece(self.state.piece(int(lens.top_ids[step, row, 0])))
        self._write(painter, left, piece, self._piece_bold if on_top else self._piece, "text")

    def _write(
        self, painter: QPainter, rect: QRect, text: str, font: QFont, color: str, *, right: bool = False
    ) -> None:
        write_elided(painter, rect, text, font, self.theme.color(color), right=right)

    # -- gestures -------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: D102
        self._update_ranges()

    def scrollContentsBy(self, dx: int, dy: int) -> None:  # noqa: D102
        self.viewport().update()

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: D102
        _, step = self.cell_at(event.position().toPoint())
        if event.button() is Qt.MouseButton.LeftButton and step >= 0:
            self._view(step)

    def _view(self, step: int) -> None:
        self.state.set_viewed_step(step)
        self.state.select(TokenRef("generated", step))

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: D102
        move = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(Qt.Key(event.key()))
        viewed = self.state.viewed_step
        if move is None or viewed is None or not self._steps or event.modifiers():
            super().keyPressEvent(event)
        else:
            self._view(min(max(viewed + move, 0), self._steps - 1))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: D102
        self._point_at(self.cell_at(event.position().toPoint()))

    def _point_at(self, cell: tuple[int, int]) -> None:
        cell = cell if min(cell) >= 0 else (-1, -1)
        if cell == self._hovered:
            return
        self._hovered = cell
        row, step = cell
        top = None if self.lens is None or row < 0 else int(self.lens.top_ids[step, row, 0])
        self.state.set_hover(None if top is None else TokenRef("vocabulary", top))
        self.cell_hovered.emit(*cell)
        self.viewport().update()

    def viewportEvent(self, event: QEvent) -> bool:  # noqa: D102
        if event.type() == QEvent.Type.Leave:
            self._point_at((-1, -1))
        elif isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            text = self.describe(event.pos())
            QToolTip.showText(event.globalPos(), plain_tooltip(text) if text else "", self.viewport())
            return True
        return super().viewportEvent(event)

    def read_cell(self, row: int, step: int) -> str:
        """A cell in one line."""
        lens, run = self.lens, self.state.run
        assert lens is not None
        assert run is not None
        top = shorten(visible_piece(self.state.piece(int(lens.top_ids[step, row, 0]))), 20)
        chosen = shorten(visible_piece(run.steps[step].token.piece), 20)
        return (
            f"{lens.labels[row]}, step {step}: {top}"
            f" {probability_text(float(lens.top_probabilities[step, row, 0]))}"
            f" · {chosen} rank {int(lens.chosen_ranks[step, row]):,},"
            f" {probability_text(float(lens.chosen_probabilities[step, row]))}"
            f" · {float(lens.entropy_bits[step, row]):.2f} bits"
        )

    def describe(self, point: QPoint) -> str:
        """The plain text of the tooltip at a point of the viewport."""
        row, step = self.cell_at(point)
        lens, run = self.lens, self.state.run
        if lens is None or run is None or step < 0:
            return f"Rows are layers, columns steps. {SOURCE}."
        chosen = visible_piece(run.steps[step].token.piece)
        if row < 0:
            return f"step {step} chose {chosen}. Click views it in every panel."
        lines = [f"{lens.labels[row]}, step {step}"]
        ids, probabilities = lens.top_ids[step, row], lens.top_probabilities[step, row]
        for token_id, probability in list(zip(ids.tolist(), probabilities.tolist(), strict=True))[:TOP]:
            lines.append(f"  {probability:.6f}  {visible_piece(self.state.piece(token_id))}")
        lines.append(
            f"chosen {chosen}: rank {int(lens.chosen_ranks[step, row]):,},"
            f" probability {float(lens.chosen_probabilities[step, row]):.6g}"
        )
        lines.append(f"entropy {float(lens.entropy_bits[step, row]):.4f} bits")
        return "\n".join(lines)
