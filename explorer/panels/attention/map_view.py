"""A way of looking at one attention map: pointing, clicking, panning and zooming, whatever is drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from PySide6.QtCore import QEvent, QPointF, QSizeF, Qt, Signal
from PySide6.QtGui import (
    QHelpEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPixmap,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QApplication, QToolTip, QWidget

from explorer.app.state import Emphasis
from explorer.colormaps import ColorScale
from explorer.panels.attention.map_content import MapContent, MapEmphasis, MapHit
from explorer.panels.widgets.piece_text import plain_tooltip
from explorer.theme import Theme

DIMMED_OPACITY = 0.4
ZOOM_PER_NOTCH = 1.25


class MapView(QWidget):
    """Base of the heat map and the line view.

    A subclass says what is where (`hit`), draws it (`paint_base`, kept as a picture until something
    in it changes, and `paint_overlay`, drawn anew for every emphasis and pointer move), and pans and
    zooms.

    Signals
    -------
    hit_hovered : MapHit or None
        The pointer moved on to something else.
    hit_clicked : MapHit or None, bool
        A click without a drag; True when Ctrl or Shift was held.
    view_changed
        Another part, or another zoom, is in view.
    """

    hit_hovered = Signal(object)
    hit_clicked = Signal(object, bool)
    view_changed = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme = theme
        self.content: MapContent | None = None
        self.scale = ColorScale()
        self.emphasis = MapEmphasis()
        self.hovered: MapHit | None = None
        self._describe: Callable[[MapHit], str] | None = None
        self._dimmed = False
        self._base: QPixmap | None = None
        self._press: QPointF | None = None
        self._dragged_from: QPointF | None = None
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)

    # -- for the panel ------------------------------------------------------------------------

    def set_content(self, content: MapContent | None) -> None:
        """Show another map."""
        self.content = content
        self.hovered = None
        self._content_set()
        self.invalidate()
        self.view_changed.emit()

    def set_scale(self, scale: ColorScale) -> None:
        """Colour the weights by another scale."""
        if scale != self.scale:
            self.scale = scale
            self._colors_changed()
            self.invalidate()

    def set_emphasis(self, emphasis: MapEmphasis) -> None:
        """Let rows, columns and cells stand out; costs one repaint of the overlay."""
        if emphasis != self.emphasis:
            self.emphasis = emphasis
            self.update()

    def set_dimmed(self, dimmed: bool) -> None:
        """Draw all of it pale: it belongs to an older text."""
        if dimmed != self._dimmed:
            self._dimmed = dimmed
            self.update()

    def set_description(self, describe: Callable[[MapHit], str]) -> None:
        """Where the tooltip's plain text comes from."""
        self._describe = describe

    def update_theme(self) -> None:
        """Colours or sizes changed."""
        self._colors_changed()
        self._content_set()
        self.invalidate()

    def render_picture(self, painter: QPainter, *, vector: bool = False) -> None:
        """Draw what is on screen without the pointer's traces; ``vector`` where the device has no pixels."""
        hovered, self.hovered = self.hovered, None
        painter.fillRect(self.rect(), self.theme.color("surface"))
        if self.content is not None:
            self.paint_base(painter, vector)
            self.paint_overlay(painter, self.shown_emphasis())
        self.hovered = hovered

    def shown_emphasis(self) -> MapEmphasis:
        """The emphasis with the pointer's own cell in it, whose crosshair replaces every other hover."""
        hit = self.hovered
        if hit is None or hit.row is None or hit.column is None:
            return self.emphasis
        kept: dict[str, dict[int, Emphasis]] = {
            axis: {index: how for index, how in named.items() if how != Emphasis.HOVERED}
            for axis, named in (("rows", self.emphasis.rows), ("columns", self.emphasis.columns))
        }
        for axis, index in (("rows", hit.row), ("columns", hit.column)):
            kept[axis][index] = max(kept[axis].get(index, Emphasis.HOVERED), Emphasis.HOVERED)
        return replace(self.emphasis, rows=kept["rows"], columns=kept["columns"])

    @property
    def note(self) -> str:
        """What the picture leaves out of the map because it is large; empty where nothing."""
        return ""

    # -- for a subclass -----------------------------------------------------------------------

    def hit(self, x: float, y: float) -> MapHit | None:
        """What is at a point of the widget."""
        raise NotImplementedError

    def paint_base(self, painter: QPainter, vector: bool) -> None:
        """Draw all that depends on neither emphasis nor pointer."""
        raise NotImplementedError

    def paint_overlay(self, painter: QPainter, emphasis: MapEmphasis) -> None:
        """Draw what stands out."""
        raise NotImplementedError

    def pan(self, dx: float, dy: float) -> None:
        """Move the picture by pixels."""
        raise NotImplementedError

    def zoom_at(self, factor: float, at: QPointF) -> None:
        """Zoom by ``factor`` and keep what is at ``at`` where it is."""
        raise NotImplementedError

    def reset_zoom(self) -> None:
        """Fit all of it."""
        raise NotImplementedError

    def _content_set(self) -> None:
        """Measure another content, or the same in other fonts."""

    def _colors_changed(self) -> None:
        """The scale or the palette is another one."""

    def invalidate(self) -> None:
        """Draw the base anew at the next paint."""
        self._base = None
        self.update()

    # -- Qt -------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: D102
        if self.content is None:
            return
        ratio = self.devicePixelRatioF()
        if self._base is None or self._base.devicePixelRatio() != ratio:
            self._base = QPixmap((QSizeF(self.size()) * ratio).toSize())
            self._base.setDevicePixelRatio(ratio)
            self._base.fill(Qt.GlobalColor.transparent)
            with QPainter(self._base) as base:
                self.paint_base(base, False)
        with QPainter(self) as painter:
            painter.setOpacity(DIMMED_OPACITY if self._dimmed else 1.0)
            painter.drawPixmap(0, 0, self._base)
            self.paint_overlay(painter, self.shown_emphasis())

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: D102
        self.invalidate()
        self.view_changed.emit()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: D102
        here = event.position()
        if self._press is not None and event.buttons() & Qt.MouseButton.LeftButton:
            far = (here - self._press).manhattanLength() >= QApplication.startDragDistance()
            if self._dragged_from is None and far:
                self._dragged_from = self._press
            if self._dragged_from is not None:
                moved = here - self._dragged_from
                self._dragged_from = here
                self.pan(moved.x(), moved.y())
                return
        self._set_hovered(None if self.content is None else self.hit(here.x(), here.y()))

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: D102
        if event.button() == Qt.MouseButton.LeftButton:
            self._press = event.position()
            self._dragged_from = None

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: D102
        if event.button() != Qt.MouseButton.LeftButton or self._press is None:
            return
        dragged, self._press, self._dragged_from = self._dragged_from is not None, None, None
        here = event.position()
        if not dragged and self.rect().contains(here.toPoint()) and self.content is not None:
            extend = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
            self.hit_clicked.emit(self.hit(here.x(), here.y()), bool(event.modifiers() & extend))

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:  # noqa: D102
        self.reset_zoom()

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: D102
        if self.content is None:
            return
        delta = event.angleDelta()
        if event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            self.pan((delta.x() or delta.y()) / 2, 0.0)
        else:
            self.zoom_at(ZOOM_PER_NOTCH ** (delta.y() / 120.0), event.position())
        self._set_hovered(self.hit(event.position().x(), event.position().y()))
        event.accept()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: D102
        middle = QPointF(self.rect().center())
        if event.key() in (Qt.Key.Key_Plus, Qt.Key.Key_Equal):
            self.zoom_at(ZOOM_PER_NOTCH, middle)
        elif event.key() == Qt.Key.Key_Minus:
            self.zoom_at(1 / ZOOM_PER_NOTCH, middle)
        elif event.key() == Qt.Key.Key_0:
            self.reset_zoom()
        else:
            super().keyPressEvent(event)

    def leaveEvent(self, event: QEvent) -> None:  # noqa: D102
        # Also when nothing is hovered here: a new map forgot what was, the state did not.
        self.hovered = None
        self.update()
        self.hit_hovered.emit(None)

    def event(self, event: QEvent) -> bool:  # noqa: D102
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            hit = None if self.content is None else self.hit(event.x(), event.y())
            text = self._describe(hit) if hit is not None and self._describe is not None else ""
            if text:
                QToolTip.showText(event.globalPos(), plain_tooltip(text), self)
            else:
                QToolTip.hideText()
            return True
        return super().event(event)

    def _set_hovered(self, hit: MapHit | None) -> None:
        if hit != self.hovered:
            self.hovered = hit
            self.update()
            self.hit_hovered.emit(hit)
