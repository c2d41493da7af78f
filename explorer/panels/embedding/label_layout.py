"""Where labels go so that none lies on another: greedy, most important first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# More could not be read, and placing them would hold up the picture.
MOST_LABELS = 100
# Among more points than these there is hardly room for a label, and looking for it takes long: only the
# first ones, which are what is pointed at, are given a try.
_CROWD = 150
_ALWAYS = 12
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
        Of the labels; points behind the last one that has a label are only not to be covered.
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
    # (4, n): left, top, right, bottom of each; coordinate by coordinate, numpy is at its fastest.
    points = np.array([(x - r, y - r, x + r, y + r) for x, y, r in anchors]).reshape(-1, 4).T.copy()
    boxes = np.empty((4, len(taken) + min(len(anchors), MOST_LABELS)))
    boxes[:, : len(taken)] = np.array(taken).reshape(-1, 4).T
    count = len(taken)
    found: list[Placed] = []
    for index, (anchor, size) in enumerate(zip(anchors, sizes[:MOST_LABELS], strict=False)):
        places = _boxes_around(*anchor, gap, *size)
        left, top, right, bottom = places
        free = (left >= 0) & (top >= 0) & (right <= width) & (bottom <= height)
        # Only what a label here could lie on, at whichever of its places, is looked at closely.
        span = (left.min(), top.min(), right.max(), bottom.max())
        hit = _overlaps(points, span)
        hit[index] = False
        if index >= _ALWAYS and np.count_nonzero(hit) > _CROWD:
            continue
        taken_here = boxes[:, :count]
        near = np.concatenate([points[:, hit], taken_here[:, _overlaps(taken_here, span)]], axis=1)[..., None]
        free &= ~((near[0] < right) & (left < near[2]) & (near[1] < bottom) & (top < near[3])).any(axis=0)
        if not free.any():
            continue
        last = None if before is None else before[index]
        place = last if last is not None and free[last] else int(free.argmax())
        boxes[:, count] = places[:, place]
        count += 1
        found.append(Placed(index, float(left[place]), float(top[place]), place, PLACES[place][1] > 0))
    return found


def _boxes_around(
    x: float, y: float, radius: float, gap: float, width: float, height: float
) -> npt.NDArray[np.float64]:
    """(4, places) left, top, right, bottom of a label at each of `PLACES`."""
    away = (radius + gap * _RING_OF_PLACE) * _SHARE_OF_PLACE
    left = x + _SIDE_OF_PLACE[:, 0] * away + _SHIFT_OF_PLACE[:, 0] * width
    top = y + _SIDE_OF_PLACE[:, 1] * away + _SHIFT_OF_PLACE[:, 1] * height
    return np.array([left, top, left + width, top + height])


def _overlaps(boxes: npt.NDArray[np.float64], box: Box) -> npt.NDArray[np.bool_]:
    """Which of ``boxes`` (4, n) lie on ``box``."""
    left, top, right, bottom = boxes
    return np.asarray((left < box[2]) & (box[0] < right) & (top < box[3]) & (box[1] < bottom))
