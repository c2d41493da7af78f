"""The picture of one attention weight: query meets key, the row's softmax, the values that are mixed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QEvent, QLineF, QPointF, QRectF, QSize, QSizeF, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFontMetricsF,
    QImage,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
    QResizeEvent,
)
from PySide6.QtWidgets import QWidget

from explorer import colormaps
from explorer.core.weight_steps import (
    Term,
    extremes,
    largest_magnitude,
    slot_starts,
    strongest,
    weight_terms,
)
from explorer.panels.attention.map_view import DIMMED_OPACITY
from explorer.panels.attention.weight_layout import (
    WeightLayout,
    WeightSizes,
    lay_out,
    row_rect,
    slot_of,
    slot_rect,
)
from explorer.panels.attention.weight_reading import WeightContent, WeightHit, describe, hit_in_strip
from explorer.theme import Theme

_TWO_COLUMNS_STEPS = 104
_SINGLE = Qt.TextFlag.TextSingleLine | Qt.AlignmentFlag.AlignVCenter


class WeightCanvas(QWidget):
    """Paints a `WeightContent`. O(keys * d) once per content, size or theme, then O(1) per pointer move.

    What is more than there are pixels is thinned, always to the largest magnitude.

    Signals
    -------
    described : str
        What is under the pointer, with every digit; empty where nothing is.
    """

    described = Signal(str)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("weight_canvas")
        self.theme = theme
        self.content: WeightContent | None = None
        self.hovered: WeightHit | None = None
        self.terms: tuple[Term, ...] = ()
        self._sorted = False
        self._order: npt.NDArray[np.intp] = np.zeros(0, dtype=np.intp)
        self._room = QSize()
        self._layout = WeightLayout()
        self._dimmed = False
        self._base: QPixmap | None = None
        self.setMouseTracking(True)

    # -- for the view -----------------------------------------------------------------------------

    def set_content(self, content: WeightContent | None) -> None:
        """Show another weight."""
        self.content = content
        self.terms = () if content is None else weight_terms(content.cell)
        self._set_hovered(None)
        self._update_order()
        self.arrange(self._room)

    def set_sorted(self, is_sorted: bool) -> None:
        """Order the dimensions by their product, largest first, or leave them as the model has them."""
        if is_sorted != self._sorted:
            self._sorted = is_sorted
            self._update_order()
            self._invalidate()

    def set_dimmed(self, dimmed: bool) -> None:
        """Draw all of it pale: it belongs to an older text."""
        if dimmed != self._dimmed:
            self._dimmed = dimmed
            self.update()

    def arrange(self, room: QSize) -> None:
        """Fit into ``room``; the height that does not fit is for scrolling."""
        self._room = room
        sizes = self._sizes()
        columns = 2 if room.width() >= self.theme.space(_TWO_COLUMNS_STEPS) else 1
        if columns == 2 and lay_out(sizes, room.width(), 0, columns=1).height <= room.height():
            columns = 1
        self._layout = lay_out(sizes, room.width(), room.height(), columns=columns)
        self.setFixedHeight(round(self._layout.height))
        self._invalidate()

    def strip_rect(self, name: str) -> QRectF:
        """Where ``query``, ``key``, ``product``, ``scores``, ``weights``, ``values`` or ``mixture`` is."""
        return self._layout.strips[name]

    @property
    def headings(self) -> dict[str, str]:
        """What stands over each part."""
        if self.content is None:
            return {}
        cell = self.content.cell
        keys, dimensions = cell.values.shape
        met = len(cell.query)
        order = "sorted by product" if self._sorted else "in order"
        return {
            "dot": f"query × key = product, in {met} dimensions, {order}",
            "softmax": f"softmax along the row, over {keys} {'key' if keys == 1 else 'keys'}",
            "mix": f"values that the row mixes, {keys} × {dimensions}: blue above 0, red below",
        }

    # -- what is where ----------------------------------------------------------------------------

    def hit(self, point: QPointF) -> WeightHit | None:
        """What is at a point of the picture."""
        if self.content is None:
            return None
        for place, rect in enumerate(self._layout.terms):
            if rect.contains(point):
                return WeightHit("term", place)
        for name, rect in self._layout.strips.items():
            if rect.contains(point):
                return hit_in_strip(self.content.cell, self._order, name, rect, point)
        return None

    # -- Qt ---------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: D102
        if self.content is None:
            return
        ratio = self.devicePixelRatioF()
        if self._base is None or self._base.devicePixelRatio() != ratio:
            self._base = QPixmap((QSizeF(self.size()) * ratio).toSize())
            self._base.setDevicePixelRatio(ratio)
            self._base.fill(Qt.GlobalColor.transparent)
            with QPainter(self._base) as base:
                self._paint(base, self.content)
        with QPainter(self) as painter:
            painter.setOpacity(DIMMED_OPACITY if self._dimmed else 1.0)
            painter.drawPixmap(0, 0, self._base)
            if self.hovered is not None:
                painter.setPen(QPen(self.theme.color("text"), 1.5))
                for rect in self._hover_rects(self.hovered):
                    painter.drawRect(rect)

    def render_picture(self, painter: QPainter, *, vector: bool = False) -> None:
        """Draw what is on screen without the pointer's traces; colours are pictures in a drawing too."""
        painter.fillRect(self.rect(), self.theme.color("surface"))
        if self.content is not None:
            self._paint(painter, self.content)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: D102
        self._invalidate()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: D102
        self._set_hovered(self.hit(event.position()))

    def leaveEvent(self, event: QEvent) -> None:  # noqa: D102
        self._set_hovered(None)

    def _set_hovered(self, hit: WeightHit | None) -> None:
        if hit != self.hovered:
            self.hovered = hit
            self.described.emit(
                "" if hit is None or self.content is None else describe(self.content, self.terms, hit)
            )
            self.update()

    def _invalidate(self) -> None:
        self._base = None
        self.update()

    def _update_order(self) -> None:
        products = np.zeros(0, dtype=np.float32) if self.content is None else self.content.cell.products
        count = len(products)
        self._order = (
            np.argsort(-products, kind="stable") if self._sorted else np.arange(count, dtype=np.intp)
        )

    # -- measuring --------------------------------------------------------------------------------

    def _sizes(self) -> WeightSizes:
        theme = self.theme
        small = QFontMetricsF(theme.prose("small"))
        mono = QFontMetricsF(theme.mono("small"))
        body = QFontMetricsF(theme.mono("body", bold=True))
        names = max(small.horizontalAdvance(name) for name in ("product", "mixture", "weights"))
        labels = () if self.content is None else [token.label for token in self.content.keys[:64]]
        longest = max((mono.horizontalAdvance(label) for label in labels), default=0.0)
        gutter = max(names, min(longest, mono.horizontalAdvance("0" * 12))) + theme.space(1.5)
        pad = theme.space(1.5)
        return WeightSizes(
            line=small.height(),
            term=small.height() + body.height(),
            strip=float(theme.space(5)),
            gap=float(theme.space(0.5)),
            gutter=gutter,
            margin=mono.horizontalAdvance("±0.0000") + theme.space(1),
            term_widths=tuple(
                max(small.horizontalAdvance(term.name), body.horizontalAdvance(term.text()))
                + self._operator_width(term)
                + pad
                for term in self.terms
            ),
            value_rows=0 if self.content is None else len(self.content.keys),
        )

    def _operator_width(self, term: Term) -> float:
        wide = QFontMetricsF(self.theme.mono("body", bold=True)).horizontalAdvance(f"{term.operator} ")
        return wide if term.operator else 0.0

    def _hover_rects(self, hit: WeightHit) -> list[QRectF]:
        """What to frame: the dimension in all three strips, the key in both."""
        assert self.content is not None
        if hit.strip == "term":
            return [self._layout.terms[hit.index].adjusted(-1, -1, -self.theme.space(1), 1)]
        keys, dimensions = self.content.cell.values.shape
        if hit.strip in ("query", "key", "product"):
            place = int(np.flatnonzero(self._order == hit.index)[0])
            names, count = ["query", "key", "product"], len(self._order)
        elif hit.strip in ("scores", "weights"):
            place, names, count = hit.index, ["scores", "weights"], keys
        else:
            place, names, count = hit.index, ["mixture"], dimensions
        rects = [slot_rect(self._layout.strips[name], count, place) for name in names]
        if hit.strip == "values":
            values = self._layout.strips["values"]
            column, row = slot_rect(values, dimensions, place), row_rect(values, keys, hit.key)
            rects.append(column.intersected(row))
        return rects

    # -- painting ---------------------------------------------------------------------------------

    def _paint(self, painter: QPainter, content: WeightContent) -> None:
        theme, cell = self.theme, content.cell
        painter.setFont(theme.prose("small"))
        painter.setPen(theme.color("muted"))
        for name, text in self.headings.items():
            rect = self._layout.headings[name]
            elided = QFontMetricsF(painter.font()).elidedText(text, Qt.TextElideMode.ElideRight, rect.width())
            painter.drawText(rect, _SINGLE, elided)
        query, key = theme.side_color(content.query.ref.side), theme.side_color(content.key.ref.side)
        both = (theme.color("heat_high"), theme.color("error"))
        self._paint_bars(painter, "query", cell.query[self._order], (query, query))
        self._paint_bars(painter, "key", cell.key[self._order], (key, key))
        self._paint_bars(painter, "product", cell.products[self._order], both)
        for term, rect in zip(self.terms, self._layout.terms, strict=True):
            self._paint_term(painter, term, rect)
        grey = (theme.color("before"), theme.color("before"))
        self._paint_bars(painter, "scores", cell.row_scores, grey, cell.column)
        self._paint_bars(painter, "weights", cell.row_weights, (theme.color("point"),) * 2, cell.column)
        self._paint_key_labels(painter, content)
        self._paint_values(painter, content)

    def _paint_bars(
        self,
        painter: QPainter,
        name: str,
        values: npt.NDArray[np.float32],
        colors: Sequence[QColor],
        selected: int | None = None,
    ) -> None:
        """Bars up and down from a line at 0; what is -inf is a pale column; the selected one is amber."""
        rect = self._layout.strips[name]
        theme = self.theme
        masked = np.isneginf(values)
        finite = np.where(masked, np.float32(0), values)
        lows, highs = extremes(finite, max(1, int(rect.width())))
        if not len(lows):
            return
        scale = largest_magnitude(finite)
        lowest, highest = float(lows.min()) / scale, float(highs.max()) / scale
        # Only as much room below the line as something reaches down.
        up, down = (1.0, 0.0) if lowest == 0 else (0.0, 1.0) if highest == 0 else (highest, -lowest)
        unit = (rect.height() - 2) / (up + down)
        zero = rect.bottom() - 1 - down * unit
        self._name_strip(painter, name, rect, f"{'±' if lowest < 0 else '≤'}{scale:.4g}")
        slot = rect.width() / len(lows)
        gap = 1.0 if slot >= 4 else 0.0
        chosen = None if selected is None else slot_of(selected, len(values), len(lows))
        hidden = np.minimum.reduceat(masked, slot_starts(len(values), len(lows))) if masked.any() else None
        for i, (low, high) in enumerate(zip((lows / scale).tolist(), (highs / scale).tolist(), strict=True)):
            x = rect.left() + i * slot
            if hidden is not None and hidden[i]:
                column = QRectF(x, rect.top(), max(slot - gap, 1.0), rect.height())
                painter.fillRect(column, theme.color("cut"))
                continue
            for value, color in ((high, colors[0]), (low, colors[1])):
                if value:
                    ends = sorted((zero, zero - value * unit))
                    bar = QRectF(x, ends[0], max(slot - gap, 1.0), max(ends[1] - ends[0], 1.0))
                    painter.fillRect(bar, theme.color("selection") if i == chosen else color)
        painter.setPen(QPen(theme.color("faint"), 1.0))
        painter.drawLine(QLineF(rect.left(), zero, rect.right(), zero))
        if chosen is not None:
            painter.setPen(QPen(theme.color("selection"), 2.0))
            wide = max(slot - gap, 3.0)
            painter.drawRect(QRectF(rect.left() + chosen * slot, rect.top(), wide, rect.height()))

    def _name_strip(self, painter: QPainter, name: str, rect: QRectF, scale: str) -> None:
        """Its name on the left, and on the right how far it reaches."""
        theme = self.theme
        assert self.content is not None
        sides = {"query": self.content.query.ref.side, "key": self.content.key.ref.side}
        painter.setFont(theme.prose("small", bold=name in sides))
        painter.setPen(theme.side_color(sides[name]) if name in sides else theme.color("muted"))
        column = self._layout.headings["dot" if name in ("query", "key", "product") else "softmax"]
        left = QRectF(column.left(), rect.top(), rect.left() - column.left() - theme.space(1), rect.height())
        painter.drawText(left, _SINGLE | Qt.AlignmentFlag.AlignRight, name)
        painter.setFont(theme.mono("small"))
        painter.setPen(theme.color("faint"))
        right = QRectF(
            rect.right() + theme.space(1), rect.top(), column.right() - rect.right(), rect.height()
        )
        painter.drawText(right, _SINGLE, scale)

    def _paint_term(self, painter: QPainter, term: Term, rect: QRectF) -> None:
        """The step's name over its number, with the operator before both; the weight is amber."""
        theme = self.theme
        indent = self._operator_width(term)
        metrics = QFontMetricsF(theme.prose("small"))
        result = term.name in ("score", "weight")
        painter.setFont(theme.prose("small"))
        painter.setPen(theme.color("muted"))
        painter.drawText(
            QRectF(rect.left() + indent, rect.top(), rect.width(), metrics.height()), _SINGLE, term.name
        )
        below = QRectF(
            rect.left(), rect.top() + metrics.height(), rect.width(), rect.height() - metrics.height()
        )
        painter.setFont(theme.mono("body"))
        painter.drawText(below, _SINGLE, term.operator)
        painter.setFont(theme.mono("body", bold=result))
        painter.setPen(theme.color("selection" if term.name == "weight" else "text"))
        painter.drawText(below.adjusted(indent, 0, 0, 0), _SINGLE, term.text())

    def _paint_key_labels(self, painter: QPainter, content: WeightContent) -> None:
        """Under the bars, as far as they fit; the selected one always."""
        labels, theme = self._layout.headings["keys"], self.theme
        metrics = QFontMetricsF(theme.mono("small", bold=True))
        count = len(content.keys)
        slot = labels.width() / max(1, count)
        fits = slot >= metrics.horizontalAdvance("0000")
        for i in range(count) if fits else (content.cell.column,):
            token, chosen = content.keys[i], i == content.cell.column
            painter.setFont(theme.mono("small", bold=chosen))
            painter.setPen(theme.color("selection") if chosen else theme.side_color(token.ref.side))
            wide = slot - 3 if fits else min(labels.width(), metrics.horizontalAdvance(token.label) + 2)
            middle = labels.left() + (i + 0.5) * slot
            left = min(max(labels.left(), middle - wide / 2), labels.right() - wide)
            text = metrics.elidedText(token.label, Qt.TextElideMode.ElideRight, wide)
            where = QRectF(left, labels.top(), wide, labels.height())
            painter.drawText(where, _SINGLE | Qt.AlignmentFlag.AlignHCenter, text)

    def _paint_values(self, painter: QPainter, content: WeightContent) -> None:
        """Value vectors as rows of colour, their mixture below on a scale of its own."""
        theme, cell = self.theme, content.cell
        values, mixture = self._layout.strips["values"], self._layout.strips["mixture"]
        if not cell.values.size:
            return
        edge = QPen(theme.color("border"), 1.0)
        for rect, matrix in ((values, cell.values), (mixture, cell.output[None])):
            painter.drawImage(rect, self._colored(matrix, rect))
            painter.setPen(edge)
            painter.drawRect(rect)
        keys = len(content.keys)
        heading = self._layout.headings["mix"]
        metrics = QFontMetricsF(theme.mono("small"))
        room = values.left() - heading.left() - theme.space(1)
        high = values.height() / keys
        named = range(keys) if high >= metrics.height() * 0.85 else (cell.column,)
        for i in named:
            token, chosen = content.keys[i], i == cell.column
            middle = values.top() + (i + 0.5) * high
            top = min(max(values.top(), middle - metrics.height() / 2), values.bottom() - metrics.height())
            painter.setFont(theme.mono("small", bold=chosen))
            painter.setPen(theme.color("selection") if chosen else theme.side_color(token.ref.side))
            text = QFontMetricsF(painter.font()).elidedText(token.label, Qt.TextElideMode.ElideRight, room)
            left = QRectF(heading.left(), top, room, metrics.height())
            painter.drawText(left, _SINGLE | Qt.AlignmentFlag.AlignRight, text)
            right = QRectF(
                values.right() + theme.space(1), top, heading.right() - values.right(), metrics.height()
            )
            painter.setPen(theme.color("selection" if chosen else "faint"))
            painter.drawText(right, _SINGLE, f"×{float(cell.row_weights[i]):.3f}")
        painter.setPen(QPen(theme.color("selection"), 2.0))
        painter.drawRect(row_rect(values, keys, cell.column))
        painter.setFont(theme.prose("small"))
        painter.setPen(theme.color("muted"))
        left = QRectF(heading.left(), mixture.top(), room, mixture.height())
        painter.drawText(left, _SINGLE | Qt.AlignmentFlag.AlignRight, "mixture")
        painter.setFont(theme.mono("small"))
        painter.setPen(theme.color("faint"))
        right = QRectF(
            mixture.right() + theme.space(1),
            mixture.top(),
            heading.right() - mixture.right(),
            mixture.height(),
        )
        painter.drawText(right, _SINGLE, f"±{largest_magnitude(cell.output):.4g}")

    def _colored(self, matrix: npt.NDArray[np.float32], rect: QRectF) -> QImage:
        thin = strongest(matrix, max(1, int(rect.height())), max(1, int(rect.width())))
        share = thin / largest_magnitude(matrix)  # -1 to 1
        table = _diverging(
            self.theme.palette.error, self.theme.palette.heat_low, self.theme.palette.heat_high
        )
        half = len(table) // 2
        pixels = np.ascontiguousarray(table[np.rint(share * (half - 1)).astype(np.intp) + half])
        rows, columns = pixels.shape
        return QImage(pixels.data, columns, rows, 4 * columns, QImage.Format.Format_RGB32).copy()


@lru_cache(maxsize=4)
def _diverging(negative: str, middle: str, positive: str) -> npt.NDArray[np.uint32]:
    """(512,) pixels: even steps from each end colour to the middle one."""
    down = colormaps.pixels(colormaps.heat_table(middle, negative))[::-1]
    return np.concatenate([down, colormaps.pixels(colormaps.heat_table(middle, positive))])
