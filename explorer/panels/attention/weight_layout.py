"""Where everything stands in the picture of one weight."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from PySide6.QtCore import QRectF

from explorer.core.weight_steps import slot_starts

# Shares of the room that is left over, and how much of it a strip can use, in its own heights.
_STRETCH = {"query": 1.0, "key": 1.0, "product": 1.3, "scores": 1.0, "weights": 1.5, "values": 2.0}
_MOST_STRETCH = 2.6


@dataclass(frozen=True, slots=True)
class WeightSizes:
    """What the layout has to know of fonts and content, in pixels.

    Attributes
    ----------
    line : float
        Height of a line of small type.
    term : float
        Height of a step of the arithmetic: its name over its number.
    strip : float
        Least height of a strip of bars.
    gap : float
        Between two things.
    gutter, margin : float
        Room for names on the left and for numbers on the right.
    term_widths : tuple of float
        Width of each step of the arithmetic.
    value_rows : int
        Keys whose value vectors are drawn.
    """

    line: float
    term: float
    strip: float
    gap: float
    gutter: float
    margin: float
    term_widths: tuple[float, ...]
    value_rows: int


@dataclass(frozen=True)
class WeightLayout:
    """Rectangles by name; ``height`` is what the picture needs.

    Attributes
    ----------
    strips : dict of str to QRectF
        ``query``, ``key``, ``product``, ``scores``, ``weights``, ``values``, ``mixture``, without gutters.
    headings : dict of str to QRectF
        ``dot``, ``softmax`` and ``mix``; and ``keys``, the line of labels under the weights.
    terms : list of QRectF
        The steps of the arithmetic, one line after the other.
    """

    height: float = 0.0
    strips: dict[str, QRectF] = field(default_factory=dict)
    headings: dict[str, QRectF] = field(default_factory=dict)
    terms: list[QRectF] = field(default_factory=list)


def lay_out(sizes: WeightSizes, width: float, height: float, *, columns: int) -> WeightLayout:
    """One column with everything below each other, or two: how the score came about, and what it does.

    What is left over of ``height`` makes the strips higher. What does not fit makes the picture higher.
    """
    gap = sizes.gap
    column = (width - (columns - 1) * 4 * gap) / columns
    least = _place(WeightLayout(), sizes, column, {}, columns)
    spare = max(0.0, height - least)
    strip = sizes.strip
    if columns == 1:
        share = spare / sum(_STRETCH.values())
        heights = {name: strip + min(share * part, strip * _MOST_STRETCH) for name, part in _STRETCH.items()}
    else:
        heights = {}
        for names in (("query", "key", "product"), ("scores", "weights", "values")):
            # Both columns grow to the same height, whichever was the lower.
            own = height - _column_height(sizes, column, names[0] == "query")
            share = max(0.0, own) / sum(_STRETCH[name] for name in names)
            for name in names:
                heights[name] = strip + min(share * _STRETCH[name], strip * _MOST_STRETCH)
    layout = WeightLayout(max(height, least))
    _place(layout, sizes, column, heights, columns)
    return layout


def _column_height(sizes: WeightSizes, width: float, first: bool) -> float:
    layout = WeightLayout()
    return (
        _place_score(layout, sizes, 0.0, 0.0, width, {})
        if first
        else _place_mix(layout, sizes, 0.0, 0.0, width, {})
    )


def _place(
    layout: WeightLayout, sizes: WeightSizes, column: float, heights: dict[str, float], columns: int
) -> float:
    """Fill in the rectangles; says where the lowest ends."""
    first = _place_score(layout, sizes, 0.0, 0.0, column, heights)
    if columns == 1:
        return _place_mix(layout, sizes, 0.0, first + 2 * sizes.gap, column, heights)
    return max(first, _place_mix(layout, sizes, column + 4 * sizes.gap, 0.0, column, heights))


def _place_score(
    layout: WeightLayout, sizes: WeightSizes, x: float, y: float, width: float, heights: dict[str, float]
) -> float:
    layout.headings["dot"] = QRectF(x, y, width, sizes.line)
    y += sizes.line + sizes.gap
    inner = max(1.0, width - sizes.gutter - sizes.margin)
    for name in ("query", "key", "product"):
        high = heights.get(name, sizes.strip)
        layout.strips[name] = QRectF(x + sizes.gutter, y, inner, high)
        y += high + sizes.gap
    y += sizes.gap
    at = x
    # Apart from each other where they all fit on one line with it.
    spare = max(0.0, (width - sum(sizes.term_widths)) / max(1, len(sizes.term_widths)))
    for narrow in sizes.term_widths:
        wide = narrow + min(spare, 4 * sizes.gap)
        if at > x and at + narrow > x + width:
            at, y = x, y + sizes.term + sizes.gap
        layout.terms.append(QRectF(at, y, min(wide, width), sizes.term))
        at += wide
    return y + sizes.term


def _place_mix(
    layout: WeightLayout, sizes: WeightSizes, x: float, y: float, width: float, heights: dict[str, float]
) -> float:
    inner = max(1.0, width - sizes.gutter - sizes.margin)
    left = x + sizes.gutter
    layout.headings["softmax"] = QRectF(x, y, width, sizes.line)
    y += sizes.line + sizes.gap
    for name in ("scores", "weights"):
        high = heights.get(name, sizes.strip)
        layout.strips[name] = QRectF(left, y, inner, high)
        y += high + sizes.gap
    layout.headings["keys"] = QRectF(left, y - sizes.gap / 2, inner, sizes.line)
    y += sizes.line + sizes.gap
    layout.headings["mix"] = QRectF(x, y, width, sizes.line)
    y += sizes.line + sizes.gap
    # A line for each key, as long as that is not more than a few strips.
    least = min(sizes.value_rows * sizes.line, 3 * sizes.strip)
    most = sizes.value_rows * sizes.line * 1.6
    high = min(least + heights.get("values", sizes.strip) - sizes.strip, max(least, most))
    layout.strips["values"] = QRectF(left, y, inner, high)
    y += high + sizes.gap
    layout.strips["mixture"] = QRectF(left, y, inner, sizes.line)
    return y + sizes.line


def slot_of(index: int, count: int, slots: int) -> int:
    """Which of so many slots, that ``count`` things share, the thing at ``index`` is in."""
    return int(np.searchsorted(slot_starts(count, slots), index, side="right")) - 1


def slot_rect(rect: QRectF, count: int, index: int) -> QRectF:
    """The column of ``rect`` where one of ``count`` things stands, wide enough to be seen."""
    slots = min(count, max(1, int(rect.width())))
    wide = rect.width() / slots
    left = rect.left() + slot_of(index, count, slots) * wide
    return QRectF(left, rect.top(), max(wide, 3.0), rect.height())


def row_rect(rect: QRectF, count: int, index: int) -> QRectF:
    """The row of ``rect`` where one of ``count`` things stands, high enough to be seen."""
    slots = min(count, max(1, int(rect.height())))
    high = rect.height() / slots
    top = rect.top() + slot_of(index, count, slots) * high
    return QRectF(rect.left(), top, rect.width(), max(high, 3.0))
