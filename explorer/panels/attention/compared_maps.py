"""Up to four heads side by side: small maps with the same axes and the same colours."""

from __future__ import annotations

import math
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import (
    QFontMetricsF,
    QImage,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QApplication, QWidget

from explorer import colormaps
from explorer.app.state import Emphasis
from explorer.colormaps import ColorScale, top_of
from explorer.core.selection import Place
from explorer.panels.attention.cell_image import cells_per_pixel, max_pool, to_image
from explorer.panels.attention.map_content import AxisToken, MapContent, MapEmphasis, MapHit
from explorer.panels.attention.map_footer import Reading
from explorer.panels.attention.map_view import DIMMED_OPACITY, ZOOM_PER_NOTCH
from explorer.theme import Theme

_LONGEST_LABEL = 12
_LARGEST_CELL = 40.0


@dataclass(frozen=True, eq=False)
class ComparedMap:
    """One of the maps: its (layer, head), and what is drawn of it."""

    place: Place
    content: MapContent


class ComparedMaps(QWidget):
    """Whole maps in a grid, zoomed and moved together; what is pointed at in one is framed in all.

    Where a cell is smaller than a pixel, the pixel shows the largest weight in it, and the reading is
    the one cell's under the pointer. A new map costs O(query x key) once; a paint copies pictures.

    Signals
    -------
    hit_hovered : MapHit or None
        The pointer moved on to another cell, in whichever map.
    hit_clicked : MapHit, bool
        A click on a cell; False, as no pair is extended here.
    view_changed
        Another part, or another zoom, is in view.
    """

    hit_hovered = Signal(object)
    hit_clicked = Signal(object, bool)
    view_changed = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("compared_maps")
        self.setAccessibleName("Heads side by side")
        self.theme = theme
        self.maps: tuple[ComparedMap, ...] = ()
        self.scale = ColorScale()
        self.emphasis = MapEmphasis()
        self.hovered: MapHit | None = None
        self._dimmed = False
        self._zoom = 1.0
        self._origin = QPointF(0.0, 0.0)  # share of columns and rows left of and above what is in view
        self._images: dict[tuple[int, int, int], QImage] = {}
        self._press: QPointF | None = None
        self._dragged_from: QPointF | None = None
        self.setMouseTracking(True)

    def set_maps(self, maps: tuple[ComparedMap, ...], *, scale: ColorScale) -> None:
        """Show these in one scale."""
        before = [shown.content.weights.shape[1:] for shown in self.maps[:1]]
        if before != [shown.content.weights.shape[1:] for shown in maps[:1]]:
            self._zoom, self._origin = 1.0, QPointF(0.0, 0.0)
        self.maps = maps
        self.scale = scale
        self.hovered = None
        self._images.clear()
        self.update()
        self.view_changed.emit()

    def set_emphasis(self, emphasis: MapEmphasis) -> None:
        """Let rows, columns and cells stand out."""
        if emphasis != self.emphasis:
            self.emphasis = emphasis
            self.update()

    def set_dimmed(self, dimmed: bool) -> None:
        """Draw all of it pale: it belongs to an older text."""
        self._dimmed = dimmed
        self.update()

    def update_theme(self) -> None:
        """Colours or sizes changed."""
        self._images.clear()
        self.update()

    def reset_zoom(self) -> None:
        """Fit all of every map."""
        self._zoom, self._origin = 1.0, QPointF(0.0, 0.0)
        self.update()
        self.view_changed.emit()

    @property
    def note(self) -> str:
        """How many weights share a pixel; empty where each has its own."""
        rects = self.map_rects()
        if not rects:
            return ""
        down, across = self._pooling(rects[0])
        return f"a pixel is the largest of {down} × {across}" if down * across > 1 else ""

    def reading(self, hit: MapHit | None) -> Reading:
        """A cell's weight in every map."""
        if not self.maps or hit is None or hit.row is None or hit.column is None:
            return Reading(facts="Point at a cell to read its weight in every head.")
        if not self._reaches((hit.row, hit.column)):
            return Reading(facts="Point at a cell to read its weight in every head.")
        content = self.maps[0].content
        query, key = content.rows[hit.row], content.columns[hit.column]
        first, *others = (
            f"{m.place[0]}·{m.place[1]} {m.content.weights[hit.row, hit.column]:.4f}" for m in self.maps
        )
        # Where there is no room for all, the rest stands over each map all the same.
        return Reading(query.label, key.label, query.ref.side, key.ref.side, first, " · ".join(others))

    def render_picture(self, painter: QPainter, *, vector: bool = False) -> None:
        """Draw what is on screen without the pointer's traces; cells are pictures in a drawing too."""
        hovered, self.hovered = self.hovered, None
        painter.fillRect(self.rect(), self.theme.color("surface"))
        self._paint(painter)
        self.hovered = hovered

    # -- where things are -------------------------------------------------------------------------

    def map_rects(self) -> list[QRectF]:
        """Where the cells of each map are: in the arrangement that makes them largest."""
        count = len(self.maps)
        best: list[QRectF] = []
        for columns in range(1, count + 1):
            rects = self._arranged(columns, math.ceil(count / columns))
            if not best or _smallest_side(rects) > _smallest_side(best):
                best = rects
        return best

    def title(self, shown: ComparedMap, width: float) -> str:
        """What stands over a map: its head, and its weight where a cell is pointed at or selected."""
        layer, head = shown.place
        cell = next(iter(self.emphasis.cells), None)
        if self.hovered is not None and self.hovered.row is not None and self.hovered.column is not None:
            cell = self.hovered.row, self.hovered.column
        known = cell is not None and self._reaches(cell)
        weight = f": {shown.content.weights[cell]:.4f}" if known else ""
        text = f"layer {layer} · head {head}{weight}"
        metrics = QFontMetricsF(self.theme.mono("small", bold=True))
        return text if metrics.horizontalAdvance(text) <= width else f"{layer}·{head}{weight}"

    def _reaches(self, cell: tuple[int, int]) -> bool:
        """Whether there is such a cell; for a moment the emphasis may belong to a longer run."""
        rows, columns = self.maps[0].content.weights.shape
        return bool(cell[0] < rows and cell[1] < columns)

    def _arranged(self, columns: int, rows: int) -> list[QRectF]:
        left, top = self._label_room()
        line, gap = self._line(), float(self.theme.space(2))
        wide = (self.width() - left - (columns - 1) * gap - 2) / columns
        high = (self.height() - top - rows * line - (rows - 1) * gap / 2 - 2) / rows
        return [
            QRectF(
                left + (i % columns) * (wide + gap),
                top + line + (i // columns) * (high + line + gap / 2),
                max(1.0, wide),
                max(1.0, high),
            )
            for i in range(len(self.maps))
        ]

    def _label_room(self) -> tuple[float, float]:
        """Room left of the maps and over them for the tokens' names."""
        if not self.maps:
            return 0.0, 0.0
        metrics = QFontMetricsF(self.theme.mono("small"))
        most = metrics.horizontalAdvance("0" * _LONGEST_LABEL)
        content = self.maps[0].content
        rows, columns = (
            min(most, max((metrics.horizontalAdvance(t.label) for t in tokens[:64]), default=0.0))
            for tokens in (content.rows, content.columns)
        )
        # In a low panel the maps have more to say than the names.
        above = columns if columns < self.height() / 4 else 0.0
        return rows + self.theme.space(1), above + (self.theme.space(0.5) if above else 0)

    def _line(self) -> float:
        return QFontMetricsF(self.theme.mono("small")).height()

    def hit(self, point: QPointF) -> MapHit | None:
        """The cell at a point; None beside the maps."""
        for rect, shown in zip(self.map_rects(), self.maps, strict=True):
            rows, columns = shown.content.weights.shape
            if rect.contains(point) and rows and columns:
                across, down = self._share_at(rect, point)
                return MapHit(min(int(down * rows), rows - 1), min(int(across * columns), columns - 1))
        return None

    def _share_at(self, rect: QRectF, point: QPointF) -> tuple[float, float]:
        """How far along the columns and rows of a map a point of its picture is, 0 to 1."""
        return (
            self._origin.x() + (point.x() - rect.left()) / rect.width() / self._zoom,
            self._origin.y() + (point.y() - rect.top()) / rect.height() / self._zoom,
        )

    def _pooling(self, rect: QRectF) -> tuple[int, int]:
        rows, columns = self.maps[0].content.weights.shape
        pixels = self._zoom * self.devicePixelRatioF()
        return (
            cells_per_pixel(rect.height() * pixels / max(1, rows)),
            cells_per_pixel(rect.width() * pixels / max(1, columns)),
        )

    def _look(self, zoom: float, across: float, down: float) -> None:
        """Put another part into view, as far as there is one."""
        room = 1.0 - 1.0 / zoom
        self._zoom = zoom
        self._origin = QPointF(min(max(across, 0.0), room), min(max(down, 0.0), room))
        self.update()
        self.view_changed.emit()

    # -- Qt ---------------------------------------------------------------------------------------

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: D102
        here = event.position()
        if self._press is not None and event.buttons() & Qt.MouseButton.LeftButton and self._zoom > 1.0:
            if (here - self._press).manhattanLength() >= QApplication.startDragDistance():
                self._dragged_from = self._dragged_from or self._press
            if self._dragged_from is not None:
                moved, self._dragged_from = here - self._dragged_from, here
                rect = self.map_rects()[0]
                self._look(
                    self._zoom,
                    self._origin.x() - moved.x() / rect.width() / self._zoom,
                    self._origin.y() - moved.y() / rect.height() / self._zoom,
                )
                return
        self._set_hovered(self.hit(here))

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: D102
        if event.button() == Qt.MouseButton.LeftButton:
            self._press, self._dragged_from = event.position(), None

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: D102
        dragged, self._press, self._dragged_from = self._dragged_from is not None, None, None
        hit = self.hit(event.position())
        if event.button() == Qt.MouseButton.LeftButton and hit is not None and not dragged:
            self.hit_clicked.emit(hit, False)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:  # noqa: D102
        self.reset_zoom()

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: D102
        here = event.position()
        rect = next((rect for rect in self.map_rects() if rect.contains(here)), None)
        if rect is None or not self.maps[0].content.weights.size:
            return
        rows, columns = self.maps[0].content.weights.shape
        most = max(2.0, _LARGEST_CELL * max(rows / rect.height(), columns / rect.width()))
        zoom = min(max(self._zoom * ZOOM_PER_NOTCH ** (event.angleDelta().y() / 120.0), 1.0), most)
        across, down = self._share_at(rect, here)
        self._look(
            zoom,
            across - (here.x() - rect.left()) / rect.width() / zoom,
            down - (here.y() - rect.top()) / rect.height() / zoom,
        )
        event.accept()

    def leaveEvent(self, event: QEvent) -> None:  # noqa: D102
        self._set_hovered(None)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: D102
        self.view_changed.emit()

    def _set_hovered(self, hit: MapHit | None) -> None:
        if hit != self.hovered:
            self.hovered = hit
            self.hit_hovered.emit(hit)
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: D102
        with QPainter(self) as painter:
            painter.setOpacity(DIMMED_OPACITY if self._dimmed else 1.0)
            self._paint(painter)

    def _paint(self, painter: QPainter) -> None:
        rects = self.map_rects()
        for index, (rect, shown) in enumerate(zip(rects, self.maps, strict=True)):
            self._paint_map(painter, rect, shown, index)
        if rects:
            self._paint_labels(painter, rects)

    def _image(self, index: int, factors: tuple[int, int]) -> QImage:
        """One map as pixels; made once per map, scale and zoom level."""
        if (index, *factors) not in self._images:
            palette = self.theme.palette
            table = colormaps.pixels(colormaps.heat_table(palette.heat_low, palette.heat_high))
            indices = self.scale.indices(self.maps[index].content.weights)
            self._images[index, *factors] = to_image(max_pool(indices, factors), table)
        return self._images[index, *factors]

    def _paint_map(self, painter: QPainter, rect: QRectF, shown: ComparedMap, index: int) -> None:
        theme = self.theme
        painter.setFont(theme.mono("small", bold=True))
        painter.setPen(theme.color("text"))
        title = QRectF(rect.left(), rect.top() - self._line(), rect.width(), self._line())
        painter.drawText(title, Qt.AlignmentFlag.AlignCenter, self.title(shown, rect.width()))
        rows, columns = shown.content.weights.shape
        if not shown.content.weights.size:
            return
        down, across = self._pooling(rect)
        source = QRectF(
            self._origin.x() * columns / across,
            self._origin.y() * rows / down,
            columns / self._zoom / across,
            rows / self._zoom / down,
        )
        painter.drawImage(rect, self._image(index, (down, across)), source)
        painter.setPen(QPen(theme.color("border"), 1.0))
        painter.drawRect(rect)
        high, wide = rect.height() * self._zoom / rows, rect.width() * self._zoom / columns
        marks = [(cell, "selection", 2.5) for cell in self.emphasis.cells]
        if self.hovered is not None and self.hovered.row is not None and self.hovered.column is not None:
            marks.append(((self.hovered.row, self.hovered.column), "text", 1.5))
        painter.save()
        painter.setClipRect(rect.adjusted(-2, -2, 2, 2))
        for (row, column), color, width in marks:
            painter.setPen(QPen(theme.color(color), width))
            where = QRectF(
                rect.left() + column * wide - self._origin.x() * self._zoom * rect.width(),
                rect.top() + row * high - self._origin.y() * self._zoom * rect.height(),
                max(wide, 3),
                max(high, 3),
            )
            painter.drawRect(where)
        painter.restore()

    def _paint_labels(self, painter: QPainter, rects: list[QRectF]) -> None:
        """Rows named left of the first map of each line, columns over the first of each column."""
        theme, content = self.theme, self.maps[0].content
        left, top = self._label_room()
        line, gap = QFontMetricsF(theme.mono("small")).height(), theme.space(0.5)
        slot = rects[0].height() * self._zoom / max(1, len(content.rows))
        above = self._origin.y() * len(content.rows)
        for rect in rects:
            if rect.left() > left + 1:
                continue
            for index in _named(len(content.rows), slot, line * 0.9):
                middle = rect.top() + (index + 0.5 - above) * slot
                if not rect.top() <= middle <= rect.bottom():
                    continue
                where = QRectF(0, middle - line / 2, left - gap, line)
                how = self.emphasis.rows.get(index, Emphasis.NONE)
                self._paint_label(painter, where, content.rows[index], how)
        slot = rects[0].width() * self._zoom / max(1, len(content.columns))
        before = self._origin.x() * len(content.columns)
        for rect in rects:
            if not top or rect.top() > rects[0].top() + 1:
                continue
            for index in _named(len(content.columns), slot, line * 0.9):
                middle = rect.left() + (index + 0.5 - before) * slot
                if not rect.left() <= middle <= rect.right():
                    continue
                painter.save()
                painter.translate(middle, top - gap)
                painter.rotate(-90)
                how = self.emphasis.columns.get(index, Emphasis.NONE)
                where = QRectF(0, -line / 2, top - gap, line)
                self._paint_label(painter, where, content.columns[index], how, left=True)
                painter.restore()

    def _paint_label(
        self, painter: QPainter, where: QRectF, token: AxisToken, how: Emphasis, *, left: bool = False
    ) -> None:
        chosen = how == Emphasis.SELECTED
        font = self.theme.mono("small", bold=chosen)
        painter.setFont(font)
        lit = how in (Emphasis.SELECTED, Emphasis.HOVERED)
        painter.setPen(self.theme.color("selection") if lit else self.theme.side_color(token.ref.side))
        text = QFontMetricsF(font).elidedText(token.label, Qt.TextElideMode.ElideRight, where.width())
        side = Qt.AlignmentFlag.AlignLeft if left else Qt.AlignmentFlag.AlignRight
        painter.drawText(where, side | Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextSingleLine, text)


def shared_scale(maps: tuple[ComparedMap, ...], scale: ColorScale, *, per_map: bool) -> ColorScale:
    """One scale for all maps: up to 1, or with ``per_map`` up to the largest weight of all of them."""
    tops = [top_of(shown.content.weights) for shown in maps if shown.content.weights.size]
    return ColorScale(scale.transform, max(tops, default=1.0) if per_map else 1.0)


def _named(count: int, slot: float, needed: float) -> range:
    """Which of the tokens are named, so that no two names touch."""
    return range(0, count, max(1, math.ceil(needed / max(slot, 0.01))))


def _smallest_side(rects: list[QRectF]) -> float:
    return min(min(rect.width(), 1.6 * rect.height()) for rect in rects)
