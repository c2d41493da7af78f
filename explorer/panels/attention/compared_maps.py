"""Up to four heads side by side: small maps with the same axes and the same colours."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QFontMetricsF, QImage, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget

from explorer import colormaps
from explorer.app.state import Emphasis
from explorer.colormaps import ColorScale, top_of
from explorer.panels.attention.map_content import AxisToken, MapContent, MapEmphasis, MapHit
from explorer.panels.attention.map_footer import Reading
from explorer.panels.attention.map_view import DIMMED_OPACITY
from explorer.theme import Theme

MOST_COMPARED = 4
_LONGEST_LABEL = 12


@dataclass(frozen=True, eq=False)
class ComparedMap:
    """One of the maps: its (layer, head), and what is drawn of it."""

    place: tuple[int, int]
    content: MapContent


class ComparedMaps(QWidget):
    """Small maps in a grid; what is pointed at in one is framed in all. O(query x key) per paint and map.

    Signals
    -------
    hit_hovered : MapHit or None
        The pointer moved on to another cell, in whichever map.
    hit_clicked : MapHit, bool
        A click on a cell; False, as no pair is extended here.
    """

    hit_hovered = Signal(object)
    hit_clicked = Signal(object, bool)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("compared_maps")
        self.setAccessibleName("Heads side by side")
        self.theme = theme
        self.maps: tuple[ComparedMap, ...] = ()
        self.labelled = True
        self.scale = ColorScale()
        self.emphasis = MapEmphasis()
        self.hovered: MapHit | None = None
        self._dimmed = False
        self.setMouseTracking(True)

    def set_maps(self, maps: tuple[ComparedMap, ...], *, labelled: bool, scale: ColorScale) -> None:
        """Show these in one scale; without labels where a cell stands for several weights."""
        self.maps, self.labelled = maps, labelled
        self.scale = scale
        self.hovered = None
        self.update()

    def set_emphasis(self, emphasis: MapEmphasis) -> None:
        """Let rows, columns and cells stand out."""
        if emphasis != self.emphasis:
            self.emphasis = emphasis
            self.update()

    def set_dimmed(self, dimmed: bool) -> None:
        """Draw all of it pale: it belongs to an older text."""
        self._dimmed = dimmed
        self.update()

    def reading(self, hit: MapHit | None) -> Reading:
        """A cell's weight in every map."""
        if not self.maps or not self.labelled:
            return Reading(facts="Each cell is the largest of the weights that it stands for.")
        if hit is None or hit.row is None or hit.column is None or not self._reaches((hit.row, hit.column)):
            return Reading(facts="Point at a cell to read its weight in every head.")
        content = self.maps[0].content
        query, key = content.rows[hit.row], content.columns[hit.column]
        first, *others = (
            f"{m.place[0]}·{m.place[1]} {m.content.weights[hit.row, hit.column]:.4f}" for m in self.maps
        )
        # Where there is no room for all, the rest stands over each map all the same.
        return Reading(query.label, key.label, query.ref.side, key.ref.side, first, " · ".join(others))

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
        known = cell is not None and self.labelled and self._reaches(cell)
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
        if not self.maps or not self.labelled:
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
        """The cell at a point; None beside the maps, and where cells stand for several weights."""
        for rect, shown in zip(self.map_rects(), self.maps, strict=True):
            rows, columns = shown.content.weights.shape
            if self.labelled and rect.contains(point) and rows and columns:
                row = int((point.y() - rect.top()) / rect.height() * rows)
                column = int((point.x() - rect.left()) / rect.width() * columns)
                return MapHit(min(row, rows - 1), min(column, columns - 1))
        return None

    # -- Qt ---------------------------------------------------------------------------------------

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: D102
        self._set_hovered(self.hit(event.position()))

    def leaveEvent(self, event: QEvent) -> None:  # noqa: D102
        self._set_hovered(None)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: D102
        hit = self.hit(event.position())
        if event.button() == Qt.MouseButton.LeftButton and hit is not None:
            self.hit_clicked.emit(hit, False)

    def _set_hovered(self, hit: MapHit | None) -> None:
        if hit != self.hovered:
            self.hovered = hit
            self.hit_hovered.emit(hit)
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: D102
        with QPainter(self) as painter:
            painter.setOpacity(DIMMED_OPACITY if self._dimmed else 1.0)
            rects = self.map_rects()
            for rect, shown in zip(rects, self.maps, strict=True):
                self._paint_map(painter, rect, shown)
            if rects and self.labelled:
                self._paint_labels(painter, rects)

    def _paint_map(self, painter: QPainter, rect: QRectF, shown: ComparedMap) -> None:
        theme = self.theme
        painter.setFont(theme.mono("small", bold=True))
        painter.setPen(theme.color("text"))
        title = QRectF(rect.left(), rect.top() - self._line(), rect.width(), self._line())
        painter.drawText(title, Qt.AlignmentFlag.AlignCenter, self.title(shown, rect.width()))
        weights = shown.content.weights
        rows, columns = weights.shape
        if not weights.size:
            return
        table = colormaps.pixels(colormaps.heat_table(theme.palette.heat_low, theme.palette.heat_high))
        cells = np.ascontiguousarray(table[self.scale.indices(weights)])
        painter.drawImage(rect, QImage(cells.data, columns, rows, 4 * columns, QImage.Format.Format_RGB32))
        painter.setPen(QPen(theme.color("border"), 1.0))
        painter.drawRect(rect)
        high, wide = rect.height() / rows, rect.width() / columns
        marks = [(cell, "selection", 2.5) for cell in self.emphasis.cells]
        if self.hovered is not None and self.hovered.row is not None and self.hovered.column is not None:
            marks.append(((self.hovered.row, self.hovered.column), "text", 1.5))
        for (row, column), color, width in marks:
            painter.setPen(QPen(theme.color(color), width))
            where = QRectF(rect.left() + column * wide, rect.top() + row * high, max(wide, 3), max(high, 3))
            painter.drawRect(where)

    def _paint_labels(self, painter: QPainter, rects: list[QRectF]) -> None:
        """Rows named left of the first map of each line, columns over the first of each column."""
        theme, content = self.theme, self.maps[0].content
        left, top = self._label_room()
        metrics = QFontMetricsF(theme.mono("small"))
        line, gap = metrics.height(), theme.space(0.5)
        for rect in rects:
            if rect.left() > left + 1:
                continue
            slot = rect.height() / max(1, len(content.rows))
            for index in _named(len(content.rows), slot, line * 0.9):
                middle = rect.top() + (index + 0.5) * slot
                where = QRectF(0, middle - line / 2, left - gap, line)
                how = self.emphasis.rows.get(index, Emphasis.NONE)
                self._paint_label(painter, where, content.rows[index], how)
        for rect in rects:
            if not top or rect.top() > rects[0].top() + 1:
                continue
            slot = rect.width() / max(1, len(content.columns))
            for index in _named(len(content.columns), slot, line * 0.9):
                painter.save()
                painter.translate(rect.left() + (index + 0.5) * slot, top - gap)
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
