"""Where labels go so that none lies on another: greedy, most important first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# Eight sides, best first: beside the point, then above and below, then the corners.
_SIDES = ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (-1, -1), (1, 1), (-1, 1))
# How far out, in gaps; beyond the first, a leader line says whose label it is.
_RINGS = (1.0, 4.0, 8.0, 13.0)
PLACES = tuple((side, ring) for ring in range(len(_RINGS)) for side in range(len(_SIDES)))

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Placed:
    """A label that found room.

    Attributes
    ----------
    index : int
        Which of the labels that were asked for.
    left, top : float
        Its box's corner.
    place : int
        Which of `PLACES`, to be tried first the next time, so that labels do not jump about.
    led : bool
        Whether it is far enough from its point to need a leader line.
    """

    index: int
    left: float
    top: float
    place: int
    led: bool


def place_labels(
    anchors: Sequence[tuple[float, float, float]],
    sizes: Sequence[tuple[float, float]],
    width: float,
    height: float,
    gap: float,
    taken: Sequence[Box] = (),
    before: Sequence[int | None] | None = None,
) -> list[Placed]:
    """Place labels around their points.

    Parameters
    ----------
    anchors : sequence of (x, y, radius)
        Points, most important first; a label may cover none of them.
    sizes : sequence of (width, height)
        Of the labels.
    width, height : float
        Of the picture; a label stays inside.
    gap : float
        Between a point's rim and its label, in pixels.
    taken : sequence of (left, top, right, bottom)
        Boxes that are not free.
    before : sequence of int or None, optional
        `Placed.place` of each label the last time.

    Returns
    -------
    list of Placed
        In the order given; a label that finds no room is left out. O(n²) for n labels.
    """
    boxes = list(taken)
    points = [(x - r, y - r, x + r, y + r) for x, y, r in anchors]
    found: list[Placed] = []
    for index, ((x, y, radius), (label_width, label_height)) in enumerate(zip(anchors, sizes, strict=True)):
        last = None if before is None else before[index]
        order = range(len(PLACES)) if last is None else (last, *range(len(PLACES)))
        for place in order:
            side, ring = PLACES[place]
            left, top = _corner(x, y, radius + gap * _RINGS[ring], _SIDES[side], label_width, label_height)
            box = (left, top, left + label_width, top + label_height)
            if left < 0 or top < 0 or box[2] > width or box[3] > height:
                continue
            if any(_overlap(box, other) for other in boxes):
                continue
            if any(_overlap(box, point) for i, point in enumerate(points) if i != index):
                continue
            boxes.append(box)
            found.append(Placed(index, left, top, place, ring > 0))
            break
    return found


def _corner(
    x: float, y: float, away: float, side: tuple[int, int], width: float, height: float
) -> tuple[float, float]:
    # Corners keep the same distance as sides do.
    reach = away if 0 in side else away * 0.75
    left = x + side[0] * reach - (width if side[0] < 0 else width / 2 if side[0] == 0 else 0.0)
    top = y + side[1] * reach - (height if side[1] < 0 else height / 2 if side[1] == 0 else 0.0)
    return left, top


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
