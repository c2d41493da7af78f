"""The tokens of two runs in two rows, those that belong together one above the other."""

from __future__ import annotations

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
from PySide6.QtWidgets import QAbstractScrollArea, QFrame, QSizePolicy, QToolTip, QWidget

from explorer.app.state import AppState
from explorer.core.records import StepRecord
from explorer.core.run_comparison import Alignment, KeptRun
from explorer.core.selection import TokenRef
from explorer.panels.widgets.elided_text import write_elided
from explorer.panels.widgets.piece_text import plain_tooltip, probability_text, visible_piece
from explorer.theme import Theme

ROWS = ("kept", "on show")


class AlignedRows(QAbstractScrollArea):
    """Two rows of tokens with their probabilities; the first difference has a mark over it.

    A click, or Left and Right, views a step of the run on show in every panel.
    """

    def __init__(self, state: AppState, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.state = state
        self.theme = theme
        self._kept: KeptRun | None = None
        self._here: KeptRun | None = None
        self._alignment: Alignment | None = None
        self._place = -1
        self.setObjectName("aligned_rows")
        self.setAccessibleName("The tokens of both runs")
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.viewport().setAutoFillBackground(False)
        self.update_theme()

    def show_runs(self, kept: KeptRun, here: KeptRun, alignment: Alignment) -> None:
        """Show these two."""
        self._kept, self._here, self._alignment = kept, here, alignment
        self._update_range()
        self.viewport().update()

    def show_place(self, place: int) -> None:
        """Mark a pair, and bring it into sight."""
        self._place = place
        bar, rect = self.horizontalScrollBar(), self.cell_rect(0, place)
        if rect.right() > self.viewport().width():
            bar.setValue(bar.value() + rect.right() - self.viewport().width() + self.theme.space(0.5))
        left = self.label_width + self.theme.space(0.7)  # the mark of a first difference stands before it
        if self.cell_rect(0, place).left() < left:
            bar.setValue(bar.value() + self.cell_rect(0, place).left() - left)
        self.viewport().update()

    def update_theme(self) -> None:
        """Colours or sizes changed."""
        self._piece, self._bold = self.theme.mono("small"), self.theme.mono("small", bold=True)
        self._small = self.theme.prose("small")
        self.row_height = QFontMetrics(self._piece).height() + self.theme.space(1)
        self.label_width = QFontMetrics(self._small).horizontalAdvance("on show") + self.theme.space(1.5)
        self.pitch = self.theme.space(19)
        self._update_range()
        self.updateGeometry()
        self.viewport().update()

    def sizeHint(self) -> QSize:  # noqa: D102
        bar = self.horizontalScrollBar().sizeHint().height()
        return QSize(self.label_width + 4 * self.pitch, 2 * self.row_height + self.theme.space(1) + bar)

    def minimumSizeHint(self) -> QSize:  # noqa: D102
        return QSize(self.theme.space(15), self.sizeHint().height())

    # -- where things are -----------------------------------------------------------------------

    def _update_range(self) -> None:
        count = 0 if self._alignment is None else len(self._alignment.pairs)
        room = self.viewport().width() - self.label_width
        bar = self.horizontalScrollBar()
        bar.setRange(0, max(0, count * self.pitch - room))
        bar.setPageStep(max(1, room))
        bar.setSingleStep(self.pitch)

    def cell_rect(self, row: int, place: int) -> QRect:
        """Where a step of row 0, the kept run, or of row 1 is in the viewport."""
        left = self.label_width + place * self.pitch - self.horizontalScrollBar().value()
        top = self.theme.space(0.6) + row * self.row_height
        return QRect(left, top, self.pitch - self.theme.space(0.7), self.row_height - self.theme.space(0.5))

    def place_at(self, point: QPoint) -> int | None:
        """The pair under a point of the viewport."""
        if self._alignment is None or point.x() < self.label_width:
            return None
        place = (point.x() - self.cell_rect(0, 0).left()) // self.pitch
        return place if 0 <= place < len(self._alignment.pairs) else None

    # -- painting -------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: D102
        kept, here, alignment = self._kept, self._here, self._alignment
        if kept is None or here is None or alignment is None:
            return
        view = self.viewport()
        start = self.horizontalScrollBar().value() // self.pitch
        places = range(start, min(len(alignment.pairs), start + view.width() // self.pitch + 2))
        with QPainter(view) as painter:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            for row, name in enumerate(ROWS):
                rect = QRect(
                    0, self.cell_rect(row, 0).top(), self.label_width, self.cell_rect(row, 0).height()
                )
                self._write(painter, rect, name, self._small, "muted" if row == 0 else "generated")
            painter.setClipRect(view.rect().adjusted(self.label_width, 0, 0, 0))
            for place in places:
                i, j = alignment.pairs[place]
                equal = alignment.equal[place]
                self._paint(painter, 0, place, None if i is None else kept.run.steps[i], equal=equal)
                self._paint(painter, 1, place, None if j is None else here.run.steps[j], equal=equal)
            first = alignment.first_difference
            if first is not None and first in places:
                x = self.cell_rect(0, first).left() - self.theme.space(0.35)
                painter.setPen(QPen(self.theme.color("error"), 2))
                painter.drawLine(x, 0, x, 2 * self.row_height + self.theme.space(0.5))

    def _paint(
        self, painter: QPainter, row: int, place: int, step: StepRecord | None, *, equal: bool
    ) -> None:
        theme, rect = self.theme, self.cell_rect(row, place)
        if step is None:
            painter.setPen(QPen(theme.color("faint"), 1, Qt.PenStyle.DotLine))
            painter.drawLine(rect.left(), rect.center().y(), rect.right(), rect.center().y())
            return
        side = "border" if row == 0 else "generated"
        pen = QPen(theme.color(side), 1.3)
        fill = theme.color("raised" if row == 0 else "generated_fill")
        if not equal:
            pen = QPen(theme.color("error"), 1.5)
        if place == self._place:
            pen, fill = QPen(theme.color("selection"), 3), theme.color("selection_fill")
        inset = pen.widthF() / 2
        painter.setPen(pen)
        painter.setBrush(fill)
        painter.drawRoundedRect(QRectF(rect).adjusted(inset, inset, -inset, -inset), 4, 4)
        inner = rect.adjusted(theme.space(0.7), 0, -theme.space(0.7), 0)
        number = probability_text(step.probability)
        self._write(painter, inner, number, self._piece, "muted", right=True)
        room = inner.adjusted(0, 0, -QFontMetrics(self._piece).horizontalAdvance("0.000 "), 0)
        font = self._piece if equal else self._bold
        self._write(painter, room, visible_piece(step.token.piece), font, "text")

    def _write(
        self, painter: QPainter, rect: QRect, text: str, font: QFont, color: str, *, right: bool = False
    ) -> None:
        write_elided(painter, rect, text, font, self.theme.color(color), right=right)

    # -- gestures -------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: D102
        self._update_range()

    def scrollContentsBy(self, dx: int, dy: int) -> None:  # noqa: D102
        self.viewport().update()

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: D102
        place = self.place_at(event.position().toPoint())
        if event.button() is Qt.MouseButton.LeftButton and place is not None and self._alignment is not None:
            step = self._alignment.pairs[place][1]
            if step is not None:
                self._view(step)

    def _view(self, step: int) -> None:
        self.state.set_viewed_step(step)
        self.state.select(TokenRef("generated", step))

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: D102
        move = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(Qt.Key(event.key()))
        viewed, run = self.state.viewed_step, self.state.run
        if move is None or viewed is None or run is None or event.modifiers():
            super().keyPressEvent(event)
        else:
            self._view(min(max(viewed + move, 0), len(run.steps) - 1))

    def viewportEvent(self, event: QEvent) -> bool:  # noqa: D102
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            text = self.describe(event.pos())
            QToolTip.showText(event.globalPos(), plain_tooltip(text) if text else "", self.viewport())
            return True
        return super().viewportEvent(event)

    def describe(self, point: QPoint) -> str:
        """The plain text of the tooltip at a point of the viewport."""
        place = self.place_at(point)
        if place is None or self._alignment is None or self._kept is None or self._here is None:
            return "The kept run above, the run on show below; a red line stands before the first difference."
        lines = []
        pair = self._alignment.pairs[place]
        for name, kept, step in zip(ROWS, (self._kept, self._here), pair, strict=True):
            if step is None:
                lines.append(f"{name}: no token here")
                continue
            record = kept.run.steps[step]
            lines.append(
                f"{name}, step {step}: {visible_piece(record.token.piece)}   ID {record.token.id}"
                f"   probability {record.probability:.6g}, rank {record.rank:,}   {record.params.summary}"
            )
        return "\n".join(lines)
