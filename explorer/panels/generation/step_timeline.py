"""All steps of a run at one glance: how likely each choice was, and how open it was."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QEvent, QPoint, QRect, QRectF, QSize, Qt
from PySide6.QtGui import (
    QFontMetrics,
    QHelpEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
    QResizeEvent,
)
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from explorer.app.state import AppState, Emphasis
from explorer.core.records import RunSnapshot
from explorer.core.selection import TokenRef
from explorer.panels.generation.step_card import how_chosen
from explorer.panels.widgets.piece_text import plain_tooltip, probability_text, shorten, visible_piece
from explorer.theme import Theme

STALE_OPACITY = 0.45


class StepTimeline(QWidget):
    """One column per step: the chosen token's probability upwards, the entropy downwards.

    A column is hollow where the chosen token was not the most likely. A click or a drag brings the
    step into view.

    Notes
    -----
    `show_run` and a resize are O(steps), and the columns are kept as a picture: a hover, a selection
    or another viewed step costs one blit.
    """

    def __init__(self, state: AppState, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.state = state
        self.theme = theme
        self._probabilities: npt.NDArray[np.float64] = np.zeros(0)
        self._entropies: npt.NDArray[np.float64] = np.zeros(0)
        self._ranks: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._picture: QPixmap | None = None
        self.setObjectName("step_timeline")
        self.setAccessibleName("Timeline of steps: probability and entropy")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMouseTracking(True)

    def show_run(self, run: RunSnapshot | None) -> None:
        """Show the steps of ``run``."""
        steps = () if run is None else run.steps
        self._probabilities = np.array([step.probability for step in steps], dtype=np.float64)
        self._entropies = np.array([step.entropy_bits for step in steps], dtype=np.float64)
        self._ranks = np.array([step.rank for step in steps], dtype=np.int64)
        self._forget_picture()

    def update_theme(self) -> None:
        """Colours or sizes changed."""
        self.updateGeometry()
        self._forget_picture()

    def sizeHint(self) -> QSize:  # noqa: D102
        return QSize(
            self.theme.space(60), 2 * QFontMetrics(self.theme.prose("small")).height() + self.theme.space(2)
        )

    def minimumSizeHint(self) -> QSize:  # noqa: D102
        return QSize(self.theme.space(20), self.sizeHint().height())

    @property
    def count(self) -> int:
        """How many steps there are."""
        return self._probabilities.size

    @property
    def most_bits(self) -> int:
        """Top of the entropy scale: a whole number of bits that every step stays within."""
        return max(1, math.ceil(float(self._entropies.max(initial=0.0)) - 1e-9))

    # -- where things are -----------------------------------------------------------------------

    def _captions(self) -> tuple[str, str]:
        return "probability 0–1", f"entropy 0–{self.most_bits} bits"

    def _plot(self) -> QRect:
        metrics = QFontMetrics(self.theme.prose("small"))
        left = max(metrics.horizontalAdvance(caption) for caption in self._captions()) + self.theme.space(2)
        return self.rect().adjusted(left, 2, -self.theme.space(0.5), -2)

    def _pitch(self) -> float:
        """Pixels from one column to the next; less than one in a very long run."""
        return min(float(self.theme.space(8)), self._plot().width() / max(1, self.count))

    def column_rect(self, index: int) -> QRectF:
        """The whole column of step ``index``."""
        plot, pitch = self._plot(), self._pitch()
        return QRectF(plot.left() + index * pitch, plot.top(), pitch, plot.height())

    def step_at(self, point: QPoint) -> int | None:
        """The step whose column is under ``point``; None beside the columns."""
        x = point.x() - self._plot().left()
        # One pixel of grace: in a long run the last columns share the plot's last pixel.
        if not self.count or not 0 <= x <= self.count * self._pitch() + 1:
            return None
        return min(int(x / self._pitch()), self.count - 1)

    # -- painting -------------------------------------------------------------------------------

    def _forget_picture(self) -> None:
        self._picture = None
        self.update()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: D102
        self._forget_picture()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: D102
        if self._picture is None:
            self._picture = self._draw_columns()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self.state.stale:
            painter.setOpacity(STALE_OPACITY)
        viewed = self.state.viewed_step
        if viewed is not None and viewed < self.count:
            painter.fillRect(self._marker(viewed), self.theme.color("selection_fill"))
        painter.drawPixmap(0, 0, self._picture)
        hover = self.state.hover
        if hover is not None and hover.side == "generated" and hover.index < self.count:
            self._frame(painter, hover.index, 1.5)
        for ref in self.state.selection.refs:
            if ref.side == "generated" and self.state.emphasis(ref) is Emphasis.SELECTED:
                self._frame(painter, ref.index, 1.5)
        if viewed is not None and viewed < self.count:
            self._frame(painter, viewed, 2.5)
        painter.end()

    def _marker(self, index: int) -> QRectF:
        # In a long run a column is thinner than any line: the mark then stands around it.
        column = self.column_rect(index)
        spare = max(0.0, self.theme.space(1) - column.width()) / 2
        return column.adjusted(-spare, -1, spare, 1)

    def _frame(self, painter: QPainter, index: int, width: float) -> None:
        painter.setPen(QPen(self.theme.color("selection"), width))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRoundedRect(self._marker(index), 2, 2)

    def _draw_columns(self) -> QPixmap:
        theme, plot = self.theme, self._plot()
        ratio = self.devicePixelRatioF()
        picture = QPixmap(self.size() * ratio)
        picture.setDevicePixelRatio(ratio)
        picture.fill(Qt.GlobalColor.transparent)
        painter = QPainter(picture)
        middle = plot.top() + plot.height() * 0.55
        up, down = middle - plot.top() - 1, plot.bottom() - middle - 1
        pitch = self._pitch()
        inset = min(3.0, pitch * 0.15)
        solid: list[QRectF] = []
        hollow: list[QRectF] = []
        open_choices: list[QRectF] = []
        for i in range(self.count):
            left, width = plot.left() + i * pitch + inset, max(0.5, pitch - 2 * inset)
            height = max(1.0, up * float(self._probabilities[i]))
            bar = QRectF(left, middle - height, width, height)
            (hollow if self._ranks[i] else solid).append(bar)
            depth = down * float(self._entropies[i]) / self.most_bits
            open_choices.append(QRectF(left, middle + 1, width, depth))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.color("after"))
        painter.drawRects(solid)
        painter.setBrush(theme.color("before"))
        painter.drawRects(open_choices)
        painter.setBrush(theme.color("surface"))
        # A pixel-wide column has no inside to be hollow: there it is told by its colour, grey.
        painter.setPen(QPen(theme.color("after" if pitch > 4 else "muted"), 1.5 if pitch > 4 else 0.5))
        painter.drawRects([bar.adjusted(0.75, 0.75, -0.75, 0) if pitch > 4 else bar for bar in hollow])
        painter.setPen(QPen(theme.color("border"), 1))
        painter.drawLine(plot.left(), round(middle), plot.right(), round(middle))
        painter.setFont(theme.prose("small"))
        painter.setPen(theme.color("muted"))
        above, below = self._captions()
        caption = QRect(0, 0, plot.left(), round(middle))
        flags = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        painter.drawText(caption, flags, above)
        painter.drawText(QRect(0, round(middle), plot.left(), self.height() - round(middle)), flags, below)
        painter.end()
        return picture

    # -- gestures -------------------------------------------------------------------------------

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: D102
        if event.button() is Qt.MouseButton.LeftButton:
            self._view(event.position().toPoint())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: D102
        point = event.position().toPoint()
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._view(point)
        index = self.step_at(point)
        self.state.set_hover(None if index is None else TokenRef("generated", index))

    def _view(self, point: QPoint) -> None:
        index = self.step_at(point)
        if index is not None:
            self.state.set_viewed_step(index)
            self.state.select(TokenRef("generated", index))

    def leaveEvent(self, event: QEvent) -> None:  # noqa: D102
        self.state.set_hover(None)

    def describe(self, point: QPoint) -> str:
        """The plain text of the tooltip at ``point``."""
        index, run = self.step_at(point), self.state.run
        if index is None or run is None:
            return (
                "One column per step: upwards the chosen token's probability, downwards the entropy of the\n"
                "model's own distribution. Hollow: the chosen token was not the most likely.\n"
                "Click or drag to view a step again; nothing is computed anew."
            )
        step = run.steps[index]
        return (
            f"step {index}: {shorten(visible_piece(step.token.piece), 40)}\n"
            f"probability {probability_text(step.probability)} · {how_chosen(step)}"
            f" · entropy {step.entropy_bits:.2f} bits"
        )

    def event(self, event: QEvent) -> bool:  # noqa: D102
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            QToolTip.showText(event.globalPos(), plain_tooltip(self.describe(event.pos())), self)
            return True
        return super().event(event)
