"""Where labels go so that none lies on another: greedy, most important first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# More could not be read, and placing them would hold up the picture.
MOST_LABELS = 100
# Eight sides, best first: beside the point, then above and below, then the corners.
_SIDES = ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (-1, -1), (1, 1), (-1, 1))
# How far out, in gaps; beyond the first, a leader line says whose label it is.
_RINGS = (1.0, 4.0, 8.0, 13.0)
PLACES = tuple((side, ring) for ring in range(len(_RINGS)) for side in range(len(_SIDES)))

_SIDE_OF_PLACE = np.array([_SIDES[side] for side, _ in PLACES], dtype=np.float64)
_RING_OF_PLACE = np.array([_RINGS[ring] for _, ring in PLACES])
# Corners keep the same distance as sides do.
_SHARE_OF_PLACE = np.where(_SIDE_OF_PLACE.all(axis=1), 0.75, 1.0)
# By how much of its own size a label is moved: it begins, ends or is centred at its point.
_SHIFT_OF_PLACE = (_SIDE_OF_PLACE - 1.0) / 2.0

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
        In the order given; a label that finds no room is left out, and so are all after the first
        `MOST_LABELS`. O(n) for n points, with each label held against what is near it.
    """
    points = np.array([(x - r, y - r, x + r, y + r) for x, y, r in anchors]).reshape(-1, 4)
    boxes = np.empty((len(taken) + min(len(anchors), MOST_LABELS), 4))
    boxes[: len(taken)] = np.array(taken).reshape(-1, 4)
    count = len(taken)
    found: list[Placed] = []
    for index, (anchor, size) in enumerate(zip(anchors[:MOST_LABELS], sizes[:MOST_LABELS], strict=True)):
        places = _boxes_around(*anchor, gap, *size)
        free = np.asarray((places[:, :2] >= 0).all(axis=1) & (places[:, 2:] <= (width, height)).all(axis=1))
        hit = _overlaps(points, places)
        hit[index] = False
        # Only what a label here could lie on, at whichever of its places, is looked at closely.
        near = np.concatenate([points[hit], boxes[:count][_overlaps(boxes[:count], places)]])
        apart = (near[:, 2:, None] <= places[:, :2].T) | (near[:, :2, None] >= places[:, 2:].T)
        free &= apart.any(axis=1).all(axis=0)
        if not free.any():
            continue
        last = None if before is None else before[index]
        place = last if last is not None and free[last] else int(free.argmax())
        boxes[count] = places[place]
        count += 1
        left, top = places[place, :2].tolist()
        found.append(Placed(index, left, top, place, PLACES[place][1] > 0))
    return found


def _boxes_around(
    x: float, y: float, radius: float, gap: float, width: float, height: float
) -> npt.NDArray[np.float64]:
    """(places, 4) boxes of a label at each of `PLACES`."""
    away = (radius + gap * _RING_OF_PLACE) * _SHARE_OF_PLACE
    left = x + _SIDE_OF_PLACE[:, 0] * away + _SHIFT_OF_PLACE[:, 0] * width
    top = y + _SIDE_OF_PLACE[:, 1] * away + _SHIFT_OF_PLACE[:, 1] * height
    return np.column_stack([left, top, left + width, top + height])


def _overlaps(boxes: npt.NDArray[np.float64], places: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which of ``boxes`` (n, 4) lie within the area that ``places`` span."""
    low, high = places[:, :2].min(axis=0), places[:, 2:].max(axis=0)
    return np.asarray(((boxes[:, :2] < high) & (low < boxes[:, 2:])).all(axis=1))
