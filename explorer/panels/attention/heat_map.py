"""One attention map as a heat map with its tokens on both axes.

Custom-painted, for three reasons: labels and cells are laid out together, so that nothing is cut or
overlaps; the same code draws the screen, a PNG and an SVG; and a cell smaller than a pixel shows the
largest weight under the pixel, where an image item that thins out would lose peaks.

Cost on two shared cores at 900 x 700: a new map of 1,024 x 1,024 weights takes about 30 ms from arrival to
painted (labels 10, colours 10), a zoom or pan 3 to 5 ms, a pointer move (base copied, crosshair and
labels drawn) 5 ms.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QPointF, QRectF, QSizeF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QImage, QPainter, QPen, QPolygonF, QRegion
from PySide6.QtWidgets import QWidget

from explorer import colormaps
from explorer.app.state import Emphasis
from explorer.panels.attention.cell_image import cells_per_pixel, max_pool, to_image
from explorer.panels.attention.map_content import AxisToken, MapEmphasis, MapHit
from explorer.panels.attention.map_geometry import SLANT_DEGREES, MapGeometry, MapMetrics, labelled, lay_out
from explorer.panels.attention.map_view import MapView
from explorer.theme import Theme

_MOST_VECTOR_CELLS = 5000
_MOST_MEASURED = 10_000
_VEIL_ALPHA = 190
_CELL_TEXT = "0.00"
_DARK_INK = np.array([22.0, 27.0, 38.0])
_LIGHT_INK = np.array([255.0, 255.0, 255.0])


class HeatMap(MapView):
    """A heat map: rows are queries with labels on the left, columns are keys with labels on top."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(theme, parent)
        self.setObjectName("attention_heat_map")
        self.setAccessibleName("Attention heat map")
        self._zoom = 1.0
        self._origin = QPointF(0.0, 0.0)
        self._geometry: MapGeometry | None = None
        self._row_lengths: npt.NDArray[np.float64] = np.zeros(0)
        self._column_lengths: npt.NDArray[np.float64] = np.zeros(0)
        self._indices: npt.NDArray[np.uint8] | None = None
        self._images: dict[tuple[int, int], QImage] = {}
        self._shows_sums = False
        self._measured: dict[str, float] = {}
        self._measured_in = QFont()
        self._shape = (0, 0)

    def set_shows_sums(self, shown: bool) -> None:
        """Draw the sums of rows and columns along the edges."""
        if shown != self._shows_sums:
            self._shows_sums = shown
            self.invalidate()
            self.view_changed.emit()

    @property
    def pooling(self) -> tuple[int, int]:
        """How many rows and columns share one pixel, which shows their largest weight; 1, 1 for none."""
        geometry = self.geometry_now()
        if geometry is None:
            return 1, 1
        ratio = self.devicePixelRatioF()
        return cells_per_pixel(geometry.cell.height() * ratio), cells_per_pixel(geometry.cell.width() * ratio)

    def geometry_now(self) -> MapGeometry | None:
        """Where everything is at the present size and zoom; None without a map."""
        if self.content is None:
            return None
        if self._geometry is None:
            self._geometry = lay_out(
                QSizeF(self.size()),
                self._row_lengths,
                self._column_lengths,
                self._metrics(),
                self._zoom,
                self._origin,
            )
            self._origin = self._geometry.origin
        return self._geometry

    @property
    def note(self) -> str:  # noqa: D102
        down, across = self.pooling
        return f"a pixel is the largest of {down} × {across}" if down * across > 1 else ""

    # -- MapView --------------------------------------------------------------------------------

    def hit(self, x: float, y: float) -> MapHit | None:  # noqa: D102
        geometry = self.geometry_now()
        return None if geometry is None else geometry.hit(x, y)

    def invalidate(self) -> None:  # noqa: D102
        self._geometry = None
        super().invalidate()

    def pan(self, dx: float, dy: float) -> None:  # noqa: D102
        geometry = self.geometry_now()
        if geometry is None or self._zoom == 1.0:
            return
        self._origin = geometry.origin - QPointF(dx / geometry.cell.width(), dy / geometry.cell.height())
        self.invalidate()
        self.view_changed.emit()

    def zoom_at(self, factor: float, at: QPointF) -> None:  # noqa: D102
        before = self.geometry_now()
        if before is None:
            return
        smallest = min(before.cell.width(), before.cell.height()) / self._zoom
        zoom = min(max(self._zoom * factor, 1.0), max(2.0, 4 * self.theme.pixels("body") / smallest))
        if zoom == self._zoom:
            return
        column = before.origin.x() + (at.x() - before.view.left()) / before.cell.width()
        row = before.origin.y() + (at.y() - before.view.top()) / before.cell.height()
        self._zoom = zoom
        self.invalidate()
        # The labels may stand in another way at the new zoom, so that the view's corner moved.
        after = self.geometry_now()
        assert after is not None
        self._origin = QPointF(
            column - (at.x() - after.view.left()) / after.cell.width(),
            row - (at.y() - after.view.top()) / after.cell.height(),
        )
        self.invalidate()
        self.view_changed.emit()

    def reset_zoom(self) -> None:  # noqa: D102
        if self._zoom != 1.0:
            self._zoom = 1.0
            self.invalidate()
            self.view_changed.emit()

    def _content_set(self) -> None:
        self._indices = None
        self._images.clear()
        if self.content is None:
            return
        shape = (len(self.content.rows), len(self.content.columns))
        if shape[1] != self._shape[1]:
            self._zoom = 1.0
        self._shape = shape
        rows, columns = self.content.rows, self.content.columns
        self._row_lengths = self._lengths(rows)
        self._column_lengths = self._row_lengths if rows is columns else self._lengths(columns)

    def _lengths(self, tokens: tuple[AxisToken, ...]) -> npt.NDArray[np.float64]:
        """Pixels along each label; kept, since the labels of a run come again at each step."""
        # Measured bold, so that a label that is selected needs no more room.
        font = self.theme.mono("body", bold=True)
        if font != self._measured_in or len(self._measured) > _MOST_MEASURED:
            self._measured_in, self._measured = font, {}
        known, measure = self._measured, QFontMetricsF(font).horizontalAdvance
        for token in tokens:
            if token.label not in known:
                known[token.label] = measure(token.label)
        return np.array([known[token.label] for token in tokens]) + self.theme.space(1)

    def _colors_changed(self) -> None:
        self._indices = None
        self._images.clear()

    def paint_base(self, painter: QPainter, vector: bool) -> None:  # noqa: D102
        geometry = self.geometry_now()
        if geometry is None:
            return
        self._paint_cells(painter, geometry, vector)
        self._paint_numbers(painter, geometry)
        self._paint_corner(painter, geometry)
        if self._shows_sums:
            self._paint_sums(painter, geometry)

    def paint_overlay(self, painter: QPainter, emphasis: MapEmphasis) -> None:  # noqa: D102
        geometry = self.geometry_now()
        if geometry is None or self.content is None:
            return
        self._veil_all_but_hovered(painter, geometry, emphasis)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._paint_marked_row(painter, geometry, emphasis.marked_row)
        painter.save()
        painter.setClipRect(geometry.view.adjusted(-2, -2, 2, 2))
        for rects, named in (
            (geometry.row_rect, emphasis.rows),
            (geometry.column_rect, emphasis.columns),
        ):
            for index, how in sorted(named.items(), key=lambda item: item[1]):
                if how >= Emphasis.HOVERED:
                    self._frame(painter, rects(index), 1.75 if how == Emphasis.SELECTED else 1.0)
        for row, column in emphasis.cells:
            # The pale edge sets the frame off from a dark cell and from the bands of row and column.
            self._frame(painter, geometry.cell_rect(row, column), 6.0, "selection_fill")
            self._frame(painter, geometry.cell_rect(row, column), 3.5)
        hit = self.hovered
        if hit is not None and hit.row is not None and hit.column is not None:
            painter.setPen(QPen(self.theme.color("text"), 1.5))
            painter.drawRect(_at_least(geometry.cell_rect(hit.row, hit.column), 3.0))
        painter.restore()
        # Labels belong to the overlay: those that stand out push their neighbours aside.
        for row in labelled(geometry.visible_rows, geometry.row_stride, emphasis.rows):
            self._paint_row_label(painter, geometry, row, emphasis.rows.get(row, Emphasis.NONE))
        for column in labelled(geometry.visible_columns, geometry.column_stride, emphasis.columns):
            self._paint_column_label(painter, geometry, column, emphasis.columns.get(column, Emphasis.NONE))

    # -- parts ----------------------------------------------------------------------------------

    def _metrics(self) -> MapMetrics:
        line = QFontMetricsF(self.theme.mono("body", bold=True)).height()
        return MapMetrics(
            line=line,
            gap=self.theme.space(1),
            widest_cell=self.theme.space(20),
            highest_cell=self.theme.space(10),
            marker=self.theme.space(2),
            strip=QSizeF(self.theme.space(7), 1.75 * line) if self._shows_sums else QSizeF(0.0, 0.0),
        )

    def _table(self) -> npt.NDArray[np.uint8]:
        return colormaps.heat_table(self.theme.palette.heat_low, self.theme.palette.heat_high)

    def _image(self, factors: tuple[int, int]) -> QImage:
        """The map as pixels, ``factors`` rows and columns to one; made once per map, scale and zoom level."""
        if factors not in self._images:
            image = to_image(max_pool(self._index_map(), factors), colormaps.pixels(self._table()))
            self._images[factors] = image
        return self._images[factors]

    def _index_map(self) -> npt.NDArray[np.uint8]:
        assert self.content is not None
        if self._indices is None:
            self._indices = self.scale.indices(self.content.weights)
        return self._indices

    def _paint_cells(self, painter: QPainter, geometry: MapGeometry, vector: bool) -> None:
        rows, columns = geometry.visible_rows, geometry.visible_columns
        if vector and len(rows) * len(columns) <= _MOST_VECTOR_CELLS:
            table, indices = self._table(), self._index_map()
            painter.save()
            painter.setClipRect(geometry.view)
            for row in rows:
                for column in columns:
                    painter.fillRect(
                        geometry.cell_rect(row, column), QColor(*table[indices[row, column]].tolist())
                    )
            painter.restore()
        else:
            down, across = self.pooling
            cell, view = geometry.cell, geometry.view
            source = QRectF(
                geometry.origin.x() / across,
                geometry.origin.y() / down,
                view.width() / cell.width() / across,
                view.height() / cell.height() / down,
            )
            painter.drawImage(view, self._image((down, across)), source)
        if min(geometry.cell.width(), geometry.cell.height()) >= self.theme.space(2):
            painter.setPen(QPen(self.theme.color("surface"), 1.0))
            for row in rows:
                y = geometry.row_top(row)
                painter.drawLine(QPointF(geometry.view.left(), y), QPointF(geometry.view.right(), y))
            for column in columns:
                x = geometry.column_left(column)
                painter.drawLine(QPointF(x, geometry.view.top()), QPointF(x, geometry.view.bottom()))
        painter.setPen(QPen(self.theme.color("border"), 1.0))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRect(geometry.view)

    def _paint_numbers(self, painter: QPainter, geometry: MapGeometry) -> None:
        assert self.content is not None
        font = self.theme.mono("body")
        metrics = QFontMetricsF(font)
        needed = metrics.horizontalAdvance(_CELL_TEXT) + self.theme.space(1)
        if geometry.cell.width() < needed or geometry.cell.height() < metrics.height():
            font = self.theme.mono("small")
            metrics = QFontMetricsF(font)
            needed = metrics.horizontalAdvance(_CELL_TEXT) + 3
            if geometry.cell.width() < needed or geometry.cell.height() < metrics.height():
                return
        table = self._table().astype(np.float64)
        light_ink = colormaps.contrast(table, _LIGHT_INK) > colormaps.contrast(table, _DARK_INK)  # (256,)
        pens = tuple(QPen(QColor(*(int(part) for part in ink))) for ink in (_DARK_INK, _LIGHT_INK))
        indices = self._index_map()
        painter.save()
        painter.setClipRect(geometry.view)
        painter.setFont(font)
        for row in geometry.visible_rows:
            for column in geometry.visible_columns:
                painter.setPen(pens[int(light_ink[indices[row, column]])])
                weight = self.content.weights[row, column]
                # An exact 0 is a key that the query was not allowed to see.
                text = f"{weight:.2f}" if weight else "0"
                painter.drawText(geometry.cell_rect(row, column), Qt.AlignmentFlag.AlignCenter, text)
        painter.restore()

    def _paint_corner(self, painter: QPainter, geometry: MapGeometry) -> None:
        """What rows and columns are, in the empty corner between their labels, where there is room."""
        assert self.content is not None
        font = self.theme.prose("small")
        metrics = QFontMetricsF(font)
        room = QRectF(0.0, 0.0, geometry.view.left() - self.theme.space(1), geometry.view.top())
        room.setBottom(room.bottom() - self.theme.space(0.5))
        words = f"{self.content.column_word} →", f"{self.content.row_word} ↓"
        if room.height() < 2 * metrics.height() or room.width() < max(map(metrics.horizontalAdvance, words)):
            return
        painter.setFont(font)
        painter.setPen(self.theme.color("muted"))
        where = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignBottom
        painter.drawText(room, where, "\n".join(words))

    def _paint_sums(self, painter: QPainter, geometry: MapGeometry) -> None:
        """Bars of the row sums on the right (full length is 1) and of the column sums below (the largest)."""
        assert self.content is not None
        column_sums = self.content.weights.sum(axis=0, dtype=np.float64)
        most = max(float(column_sums.max()), 1e-12)
        view, strip = geometry.view, self._metrics().strip
        gap = self.theme.space(0.5)
        painter.save()
        painter.setFont(self.theme.mono("small"))
        metrics = QFontMetricsF(painter.font())
        number = metrics.horizontalAdvance("0.00")
        bar, ink = self.theme.color("cut"), QPen(self.theme.color("text"))
        painter.setClipRect(QRectF(view.right(), view.top(), strip.width() + gap, view.height()))
        for row in geometry.visible_rows:
            rect = geometry.row_rect(row)
            full = strip.width() - 2 * gap
            length = full * min(max(float(self.content.row_sums[row]), 0.0), 1.0)
            painter.fillRect(
                QRectF(view.right() + gap, rect.top() + 0.5, length, max(rect.height() - 1, 0.5)), bar
            )
            if rect.height() >= metrics.height():
                painter.setPen(ink)
                where = QRectF(view.right() + gap, rect.top(), full, rect.height())
                painter.drawText(where, Qt.AlignmentFlag.AlignCenter, f"{self.content.row_sums[row]:.2f}")
        painter.setClipRect(QRectF(view.left(), view.bottom(), view.width(), strip.height() + gap))
        for column in geometry.visible_columns:
            rect = geometry.column_rect(column)
            full = strip.height() - 2 * gap
            length = full * float(column_sums[column]) / most
            left, width = rect.left() + 0.5, max(rect.width() - 1, 0.5)
            painter.fillRect(QRectF(left, view.bottom() + gap, width, length), bar)
            if rect.width() >= number + 2:
                painter.setPen(ink)
                where = QRectF(rect.left(), view.bottom() + gap, rect.width(), full)
                painter.drawText(where, Qt.AlignmentFlag.AlignCenter, f"{column_sums[column]:.2f}")
        painter.restore()

    def _veil_all_but_hovered(self, painter: QPainter, geometry: MapGeometry, emphasis: MapEmphasis) -> None:
        """Set a hovered token's row and column apart; a cell under the pointer has its crosshair."""
        if self.hovered is not None and self.hovered.is_cell:
            return
        kept = [
            rects(index)
            for rects, named in (
                (geometry.row_rect, emphasis.rows),
                (geometry.column_rect, emphasis.columns),
            )
            for index, how in named.items()
            if how == Emphasis.HOVERED
        ]
        if not kept:
            return
        rest = QRegion(geometry.view.toAlignedRect())
        for rect in kept:
            rest -= QRegion(rect.toAlignedRect())
        veil = self.theme.color("surface")
        veil.setAlpha(_VEIL_ALPHA)
        painter.save()
        painter.setClipRegion(rest, Qt.ClipOperation.IntersectClip)
        painter.fillRect(geometry.view, veil)
        painter.restore()

    def _paint_marked_row(self, painter: QPainter, geometry: MapGeometry, row: int | None) -> None:
        """A small triangle beside the row that wrote the viewed step's token."""
        if row is None or row not in geometry.visible_rows:
            return
        middle = geometry.row_top(row) + geometry.cell.height() / 2
        half = self.theme.space(0.75)
        label = min(float(self._row_lengths[row]), geometry.row_label_width)
        left = geometry.view.left() - self.theme.space(1) - label - 2 * half
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self.theme.color("text"))
        painter.drawPolygon(
            QPolygonF(
                [
                    QPointF(left, middle - half),
                    QPointF(left + 1.5 * half, middle),
                    QPointF(left, middle + half),
                ]
            )
        )

    def _paint_row_label(self, painter: QPainter, geometry: MapGeometry, row: int, how: Emphasis) -> None:
        assert self.content is not None
        token = self.content.rows[row]
        line = self._metrics().line
        middle = geometry.row_top(row) + geometry.cell.height() / 2
        # A row that is half in view keeps its label inside the widget.
        middle = min(max(middle, geometry.view.top() + 1), geometry.view.bottom() - 1)
        right = geometry.view.left() - self.theme.space(1)
        line = min(line, geometry.row_stride * geometry.cell.height())
        rect = QRectF(right - geometry.row_label_width, middle - line / 2, geometry.row_label_width, line)
        self._paint_label(painter, rect, token.label, token.ref.side, how, Qt.AlignmentFlag.AlignRight)

    def _paint_column_label(
        self, painter: QPainter, geometry: MapGeometry, column: int, how: Emphasis
    ) -> None:
        assert self.content is not None
        token = self.content.columns[column]
        line, gap = self._metrics().line, self.theme.space(1)
        left, width = geometry.column_left(column), geometry.cell.width()
        centre = min(max(left + width / 2, geometry.view.left() + 1), geometry.view.right() - 1)
        foot, length = geometry.view.top() - gap, geometry.column_label_length
        if geometry.mode == "flat":
            rect = QRectF(left, foot - line, width, line)
            align = Qt.AlignmentFlag.AlignHCenter
            self._paint_label(painter, rect, token.label, token.ref.side, how, align)
            return
        angle = SLANT_DEGREES if geometry.mode == "slanted" else 90.0
        painter.save()
        painter.translate(centre, foot - line / 2 * math.cos(math.radians(angle)))
        painter.rotate(-angle)
        rect = QRectF(0.0, -line / 2, length, line)
        align = Qt.AlignmentFlag.AlignLeft
        self._paint_label(painter, rect, token.label, token.ref.side, how, align)
        painter.restore()

    def _paint_label(
        self,
        painter: QPainter,
        room: QRectF,
        label: str,
        side: str,
        how: Emphasis,
        align: Qt.AlignmentFlag,
    ) -> None:
        font = self.theme.mono("body", bold=how == Emphasis.SELECTED)
        metrics = QFontMetricsF(font)
        pad = self.theme.space(0.5)
        text = metrics.elidedText(label, Qt.TextElideMode.ElideRight, room.width() - pad)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if how != Emphasis.NONE:
            width = min(metrics.horizontalAdvance(text) + 2 * pad, room.width() + pad)
            box = QRectF(room.left() - pad / 2, room.top(), width, room.height())
            if align == Qt.AlignmentFlag.AlignRight:
                box.moveRight(room.right() + pad)
            elif align == Qt.AlignmentFlag.AlignHCenter:
                box.moveCenter(room.center())
            style = Qt.PenStyle.DashLine if how == Emphasis.SAME else Qt.PenStyle.SolidLine
            width_px = 2.0 if how == Emphasis.SELECTED else 1.0
            painter.setPen(QPen(self.theme.color("selection"), width_px, style))
            painter.setBrush(self.theme.color("surface" if how == Emphasis.SAME else "selection_fill"))
            painter.drawRoundedRect(box.adjusted(1, 1, -1, -1), pad, pad)
        painter.setFont(font)
        painter.setPen(self.theme.side_color(side))
        painter.drawText(room, align | Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextSingleLine, text)

    def _frame(self, painter: QPainter, rect: QRectF, width: float, color: str = "selection") -> None:
        painter.setPen(QPen(self.theme.color(color), width))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRect(_at_least(rect, 3.0))


def _at_least(rect: QRectF, pixels: float) -> QRectF:
    """The rectangle, grown about its centre where it is too small to be seen."""
    wider, higher = max(0.0, pixels - rect.width()) / 2, max(0.0, pixels - rect.height()) / 2
    return rect.adjusted(-wider, -higher, wider, higher)
