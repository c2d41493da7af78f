"""Every head of one kind as a wall of thumbnails: one picture, one paint."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QFontMetricsF,
    QHelpEvent,
    QImage,
    QKeyEvent,
    QKeySequence,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
)
from PySide6.QtWidgets import QToolTip, QWidget

from explorer import colormaps
from explorer.colormaps import ColorScale
from explorer.core.selection import Place, Pooling
from explorer.panels.attention.map_view import DIMMED_OPACITY
from explorer.panels.attention.thumbnail_wall import Wall, fit_mean, paint_wall
from explorer.panels.widgets.piece_text import plain_tooltip
from explorer.theme import Theme

_FEWEST_CELL_PIXELS = 7
_HIGHEST_ASPECT = 1.6
_SMALL_PIXELS = 14
_READABLE_PIXELS = 9


@dataclass(frozen=True, eq=False)
class HeadOrder:
    """Heads in another order than the model's.

    Attributes
    ----------
    title : str
        By what they are ordered.
    places : tuple of (int, int)
        Every (layer, head) once, first one first.
    captions : dict
        What stands on each thumbnail.
    """

    title: str
    places: tuple[Place, ...]
    captions: dict[Place, str]


class HeadOverview(QWidget):
    """Layers as rows, heads as columns, counted from 0; a click opens a head, arrow keys walk.

    With a `HeadOrder`, thumbnails fill the same places row by row in that order, and each says whose
    it is.

    All thumbnails are put into one image of exactly the widget's pixels (`thumbnail_wall`), so that a
    paint is one image copy. Heads that do not pass a filter are drawn pale.

    Signals
    -------
    opened : int, int
        A person chose (layer, head).
    picked : int, int
        A person marked it, with Ctrl or Shift held.
    all_picked
        A person marked every head (Ctrl+A), or every one that passes the filter.
    """

    opened = Signal(int, int)
    picked = Signal(int, int)
    all_picked = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("head_overview")
        self.setAccessibleName("All heads: rows are layers, columns are heads")
        self.theme = theme
        self.scale = ColorScale()
        self.per_map = False
        self._counts: Place = (0, 0)
        self._weights: npt.NDArray[np.float32] | None = None
        self._note = ""
        self._pooling: Pooling = "max"
        self._order: HeadOrder | None = None
        self._slots: dict[Place, Place] = {}
        self._details: Callable[[int, int], str] | None = None
        self._opened: Place | None = None
        self._marked: tuple[Place, ...] = ()
        self._passing: npt.NDArray[np.bool_] | None = None
        self._hovered: Place | None = None
        self._dimmed = False
        self._image: QImage | None = None
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    # -- for the panel --------------------------------------------------------------------------

    def set_heads(
        self,
        layers: int,
        heads: int,
        weights: npt.NDArray[np.float32] | None,
        note: str = "",
        pooling: Pooling = "max",
    ) -> None:
        """Show ``layers`` x ``heads``; grey places where ``weights`` (layer, head, query, key) is None.

        ``note`` is a sentence for the tooltip: how a thumbnail was reduced. ``pooling`` is what stands
        for cells that share a pixel.
        """
        if weights is not None and weights.shape[:2] != (layers, heads):
            raise ValueError(f"thumbnails of {weights.shape[:2]} heads for {layers} x {heads}")
        if (layers, heads) != self._counts:
            self._order, self._slots, self._passing = None, {}, None
        self._counts = (layers, heads)
        self._weights = weights
        self._note = note
        self._pooling = pooling
        self._image = None
        self.update()

    def set_order(self, order: HeadOrder | None) -> None:
        """Show the heads in another order; None for the model's own. Call after `set_heads`."""
        if order is None and self._order is None:
            return
        self._order = order
        columns = max(1, self._counts[1])
        places = () if order is None else order.places
        self._slots = {place: divmod(index, columns) for index, place in enumerate(places)}
        self._image = None
        self.update()

    def set_passing(self, passing: npt.NDArray[np.bool_] | None) -> None:
        """Draw heads pale that are False in ``passing`` (layer, head). Call after `set_heads`."""
        if passing is not self._passing:
            self._passing = passing
            self._image = None
            self.update()

    def set_details(self, details: Callable[[int, int], str]) -> None:
        """Where a head's lines in the tooltip come from, as plain text."""
        self._details = details

    def set_opened(self, place: Place | None) -> None:
        """Frame the opened (layer, head)."""
        if place != self._opened:
            self._opened = place
            self.update()

    def set_marked(self, places: tuple[Place, ...]) -> None:
        """Frame the heads that were put together."""
        if places != self._marked:
            self._marked = places
            self.update()

    def set_scale(self, scale: ColorScale, *, per_map: bool) -> None:
        """Colour by another scale; with ``per_map`` each thumbnail's largest weight is its top."""
        if (scale, per_map) != (self.scale, self.per_map):
            self.scale, self.per_map = scale, per_map
            self._image = None
            self.update()

    def set_dimmed(self, dimmed: bool) -> None:
        """Draw all of it pale: it belongs to an older text."""
        if dimmed != self._dimmed:
            self._dimmed = dimmed
            self.update()

    def update_theme(self) -> None:
        """Colours or sizes changed."""
        self._image = None
        self.updateGeometry()
        self.update()

    @property
    def counts(self) -> Place:
        """How many layers, and heads in each."""
        return self._counts

    def natural_height(self, width: int) -> int:
        """The height at which thumbnails are a little wider than high."""
        layers, heads = self._counts
        cell = (width - self._grid(width, 1000).left()) / max(1, heads)
        caption = 0.0 if self._order is None else self._line()
        return round(self._line() + layers * (min(cell * 0.62, self.theme.space(10)) + caption)) + 2

    def readable_height(self) -> int:
        """The height at which a pattern can still be told in each thumbnail."""
        return round(self._line() + self._counts[0] * _READABLE_PIXELS) + 2

    # -- Qt ---------------------------------------------------------------------------------------

    def minimumSizeHint(self) -> QSize:  # noqa: D102
        layers, heads = self._counts
        label = round(self._grid(self.width(), self.height()).left())
        return QSize(
            label + min(heads, 16) * _FEWEST_CELL_PIXELS,
            round(self._line()) + min(layers, 12) * _FEWEST_CELL_PIXELS,
        )

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: D102
        self._image = None

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: D102
        with QPainter(self) as painter:
            self._paint(painter)

    def render_picture(self, painter: QPainter, *, vector: bool = False) -> None:
        """Draw what is on screen without the pointer's traces; thumbnails stay pixels in a drawing."""
        hovered, self._hovered = self._hovered, None
        painter.fillRect(self.rect(), self.theme.color("surface"))
        self._paint(painter)
        self._hovered = hovered

    def _paint(self, painter: QPainter) -> None:
        layers, heads = self._counts
        if not layers or not heads:
            return
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self._order is None:
            self._paint_labels(painter)
        painter.setOpacity(DIMMED_OPACITY if self._dimmed else 1.0)
        grid = self._grid(self.width(), self.height())
        if self._image is None:
            self._image = self._make_image(grid)
        painter.drawImage(grid.topLeft(), self._image)
        if self._order is not None:
            self._paint_order(painter, self._order)
        painter.setOpacity(1.0)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        if self._hovered is not None and self._hovered != self._opened:
            painter.setPen(QPen(self.theme.color("text"), 1.5))
            painter.drawRect(self.cell_rect(*self._hovered))
        small = min(self.cell_rect(0, 0).width(), self.cell_rect(0, 0).height()) < _SMALL_PIXELS
        frame = QPen(self.theme.color("selection"), 1.5 if small else 3.0)
        for place in filter(self._is_inside, self._marked):
            painter.setPen(frame)
            painter.drawRect(self.cell_rect(*place))
        if self._opened is not None and self._is_inside(self._opened):
            painter.setPen(frame)
            painter.drawRect(self.cell_rect(*self._opened))
            if self.hasFocus():
                painter.setPen(QPen(self.theme.color("accent"), 1.0))
                painter.drawRect(self.cell_rect(*self._opened).adjusted(2.5, 2.5, -2.5, -2.5))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: D102
        self._set_hovered(self.head_at(event.position()))

    def leaveEvent(self, event: QEvent) -> None:  # noqa: D102
        self._set_hovered(None)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: D102
        place = self.head_at(event.position())
        if event.button() == Qt.MouseButton.LeftButton and place is not None:
            held = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
            (self.picked if event.modifiers() & held else self.opened).emit(*place)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: D102
        if event.matches(QKeySequence.StandardKey.SelectAll):
            self.all_picked.emit()
            return
        moves = {
            Qt.Key.Key_Left: (0, -1),
            Qt.Key.Key_Right: (0, 1),
            Qt.Key.Key_Up: (-1, 0),
            Qt.Key.Key_Down: (1, 0),
        }
        move = moves.get(Qt.Key(event.key()))
        if move is None or self._opened is None:
            super().keyPressEvent(event)
            return
        row, column = self._slot(self._opened)
        slot = (row + move[0], column + move[1])
        if self._is_inside(slot):
            self.opened.emit(*self._place(slot))

    def event(self, event: QEvent) -> bool:  # noqa: D102
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            place = self.head_at(QPointF(event.pos()))
            if place is None:
                QToolTip.hideText()
            else:
                details = "" if self._details is None else self._details(*place)
                lines = (
                    f"layer {place[0]}, head {place[1]}: click to open it, Ctrl-click to mark it",
                    details,
                    self._note,
                )
                text = "\n".join(line for line in lines if line)
                QToolTip.showText(event.globalPos(), plain_tooltip(text), self)
            return True
        return super().event(event)

    # -- where things are -------------------------------------------------------------------------

    def head_at(self, point: QPointF) -> Place | None:
        """The (layer, head) at a point of the widget; None beside the thumbnails."""
        grid = self._grid(self.width(), self.height())
        layers, heads = self._counts
        if not layers or not heads or not grid.contains(point):
            return None
        row = math.floor((point.y() - grid.top()) / (grid.height() / layers))
        column = math.floor((point.x() - grid.left()) / (grid.width() / heads))
        return self._place((row, column)) if self._is_inside((row, column)) else None

    def cell_rect(self, layer: int, head: int) -> QRectF:
        """Where a thumbnail stands."""
        grid = self._grid(self.width(), self.height())
        xs, ys = self._edges(grid)
        gap = self._gap()
        row, column = self._slot((layer, head))
        return QRectF(
            grid.left() + xs[column],
            grid.top() + ys[row],
            max(1.0, float(np.diff(xs).min() - gap)),
            max(1.0, float(np.diff(ys).min() - gap)),
        )

    def _slot(self, place: Place) -> Place:
        """Row and column of the wall where a (layer, head) hangs."""
        return self._slots.get(place, place)

    def _place(self, slot: Place) -> Place:
        """The (layer, head) that hangs at a row and column of the wall."""
        return slot if self._order is None else self._order.places[slot[0] * self._counts[1] + slot[1]]

    def _grid(self, width: float, height: float) -> QRectF:
        metrics = QFontMetricsF(self.theme.mono("small"))
        label = metrics.horizontalAdvance(self._layer_label(max(0, self._counts[0] - 1), width))
        label = max(label, metrics.horizontalAdvance("head")) + self.theme.space(1)
        top = self._line()
        if self._order is not None:
            label = 0
        room = max(1.0, width - round(label) - 2)
        highest = _HIGHEST_ASPECT * self._counts[0] * room / max(1, self._counts[1])
        if self._order is not None:
            highest += self._counts[0] * self._line()
        return QRectF(round(label), round(top), room, max(1.0, min(height - round(top) - 2, highest)))

    def _layer_label(self, layer: int, width: float) -> str:
        return f"layer {layer}" if width > self.theme.space(50) else f"{layer}"

    def _line(self) -> float:
        return QFontMetricsF(self.theme.mono("small")).height()

    def _gap(self) -> int:
        """Pixels between thumbnails."""
        layers, heads = self._counts
        grid = self._grid(self.width(), self.height())
        smallest = min(grid.width() / max(1, heads), grid.height() / max(1, layers))
        return max(1, min(self.theme.space(0.75), round(smallest / 6)))

    def _edges(self, grid: QRectF) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        layers, heads = self._counts
        xs = np.rint(np.linspace(0, grid.width(), heads + 1)).astype(np.int64)
        ys = np.rint(np.linspace(0, grid.height(), layers + 1)).astype(np.int64)
        return xs, ys

    def _is_inside(self, place: Place) -> bool:
        return 0 <= place[0] < self._counts[0] and 0 <= place[1] < self._counts[1]

    def _set_hovered(self, place: Place | None) -> None:
        if place != self._hovered:
            self._hovered = place
            self.setCursor(Qt.CursorShape.ArrowCursor if place is None else Qt.CursorShape.PointingHandCursor)
            self.update()

    # -- drawing ----------------------------------------------------------------------------------

    def _make_image(self, grid: QRectF) -> QImage:
        layers, heads = self._counts
        ratio = self.devicePixelRatioF()
        xs, ys = (np.rint(edges * ratio).astype(np.int64) for edges in self._edges(grid))
        gap, caption = max(1, round(self._gap() * ratio)), round(self._caption_room() * ratio)
        slots = [self._place(divmod(index, heads)) for index in range(layers * heads)]
        filled = self._weights is not None and self._weights.size > 0
        wall = Wall(
            lefts=xs[:-1],
            tops=ys[:-1],
            # All of one size, so that all of them are made at once.
            width=max(1, int(np.diff(xs).min()) - gap),
            height=max(1, int(np.diff(ys).min()) - gap - caption),
            size=(max(1, round(grid.width() * ratio)), max(1, round(grid.height() * ratio))),
        )
        color = self.theme.color
        image = paint_wall(
            wall,
            self._thumbnails(slots, wall) if filled else None,
            pale=np.array([not self.passes(place) for place in slots]),
            table=colormaps.heat_table(self.theme.palette.heat_low, self.theme.palette.heat_high),
            surface=color("surface").rgba(),
            empty=color("raised").rgba(),
            edge=color("border" if filled else "grid").rgba(),
        )
        image.setDevicePixelRatio(ratio)
        return image

    def _thumbnails(self, slots: list[Place], wall: Wall) -> npt.NDArray[np.uint8]:
        """(slot, query, key) rows of the colour table, in the order in which they hang."""
        assert self._weights is not None
        layers, heads = self._weights.shape[:2]
        weights = self._weights.reshape(layers * heads, *self._weights.shape[2:])
        if self._pooling == "mean":
            # Means are taken of weights, not of colours.
            weights = fit_mean(fit_mean(weights, wall.height, 1), wall.width, 2)
        scale = ColorScale(self.scale.transform, 1.0 if self.per_map else self.scale.top)
        if self.per_map:
            tops = weights.max(axis=(1, 2), keepdims=True)
            weights = weights / np.where(tops > 0, tops, 1)
        indices = scale.indices(weights)
        return indices if self._order is None else indices[[layer * heads + head for layer, head in slots]]

    def passes(self, place: Place) -> bool:
        """Whether a head passes the filter, or there is none."""
        return self._passing is None or bool(self._passing[place])

    def _paint_order(self, painter: QPainter, order: HeadOrder) -> None:
        """By what the heads are ordered, and on each thumbnail that is large enough whose it is."""
        font = self.theme.mono("small")
        metrics = QFontMetricsF(font)
        painter.setFont(font)
        painter.setPen(self.theme.color("muted"))
        line = self._line()
        title = metrics.elidedText(order.title, Qt.TextElideMode.ElideRight, self.width())
        painter.drawText(QRectF(0, 0, self.width(), line), Qt.AlignmentFlag.AlignVCenter, title)
        if self._caption_room():
            for place, caption in order.captions.items():
                painter.setPen(self.theme.color("text" if self.passes(place) else "faint"))
                rect = self.cell_rect(*place)
                tag = QRectF(rect.left(), rect.bottom() - line, rect.width(), line)
                painter.drawText(tag, Qt.AlignmentFlag.AlignCenter, caption)

    def _caption_room(self) -> int:
        """Pixels under each thumbnail for its caption; 0 where there is none or it does not fit."""
        if self._order is None:
            return 0
        layers, heads = self._counts
        grid = self._grid(self.width(), self.height())
        widest = max(map(len, self._order.captions.values()), default=0)
        wide = QFontMetricsF(self.theme.mono("small")).horizontalAdvance("0") * widest
        fits = grid.width() / heads - self._gap() > wide and grid.height() / layers > 2 * self._line()
        return round(self._line()) if fits else 0

    def _paint_labels(self, painter: QPainter) -> None:
        layers, heads = self._counts
        font, bold = self.theme.mono("small"), self.theme.mono("small", bold=True)
        metrics = QFontMetricsF(bold)
        grid = self._grid(self.width(), self.height())
        line = self._line()
        xs, ys = self._edges(grid)
        chosen = self._opened or (-1, -1)
        painter.setFont(font)
        painter.setPen(self.theme.color("muted"))
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        painter.drawText(QRectF(0, 0, grid.left() - self.theme.space(1), line), right, "head")
        step_x = _label_step(metrics.horizontalAdvance(f"{heads} "), grid.width() / heads)
        step_y = _label_step(line * 0.9, grid.height() / layers)
        for head in range(heads):
            if head % step_x == 0 or head == chosen[1]:
                if head != chosen[1] and step_x > 1 and abs(head - chosen[1]) < step_x:
                    continue
                painter.setFont(bold if head == chosen[1] else font)
                painter.setPen(self.theme.color("text" if head == chosen[1] else "muted"))
                centre = grid.left() + (xs[head] + xs[head + 1] - self._gap()) / 2
                where = QRectF(centre - 30, 0, 60, line)
                painter.drawText(where, Qt.AlignmentFlag.AlignCenter, str(head))
        for layer in range(layers):
            if layer % step_y == 0 or layer == chosen[0]:
                if layer != chosen[0] and step_y > 1 and abs(layer - chosen[0]) < step_y:
                    continue
                painter.setFont(bold if layer == chosen[0] else font)
                painter.setPen(self.theme.color("text" if layer == chosen[0] else "muted"))
                centre = grid.top() + (ys[layer] + ys[layer + 1] - self._gap()) / 2
                # The first one keeps clear of the line above it.
                centre = max(centre, 1.4 * line)
                where = QRectF(0, centre - line / 2, grid.left() - self.theme.space(1), line)
                painter.drawText(where, right, self._layer_label(layer, self.width()))


def _label_step(needed: float, cell: float) -> int:
    return max(1, math.ceil(needed / max(cell, 0.1)))
