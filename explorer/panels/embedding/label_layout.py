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
    anchors: npt.ArrayLike,
    sizes: Sequence[tuple[float, float]],
    width: float,
    height: float,
    gap: float,
    taken: Sequence[Box] = (),
    before: Sequence[int | None] | None = None,
    must: int = 0,
) -> list[Placed]:
    """Place labels around their points.

    Parameters
    ----------
    anchors : array_like
        (n, 3) x, y and radius of points, most important first; a label may cover none of them.
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
    must : int, optional
        So many labels, from the first on, had rather cover points than be left out: as few as may be.

    Returns
    -------
    list of Placed
        In the order given; a label that finds no room is left out, and so are all after the first
        `MOST_LABELS`. O(n) for n points, with each label held against what is near it.
    """
    circles = np.asarray(anchors, dtype=np.float64).reshape(-1, 3)
    wanted = min(len(circles), len(sizes), MOST_LABELS)
    x, y, radius = circles.T
    # (4, n): left, top, right, bottom of each; coordinate by coordinate, numpy is at its fastest.
    points = np.array([x - radius, y - radius, x + radius, y + radius])
    all_places = _boxes_around(circles[:wanted], np.array(sizes[:wanted]).reshape(-1, 2), gap)
    left, top, right, bottom = all_places
    all_free = (left >= 0) & (top >= 0) & (right <= width) & (bottom <= height)
    # Only what a label could lie on, at whichever of its places, is looked at closely.
    spans = np.array([left.min(axis=1), top.min(axis=1), right.max(axis=1), bottom.max(axis=1)])
    all_near = _overlaps(points[:, None, :], spans[:, :, None])
    all_near[np.arange(wanted), np.arange(wanted)] = False
    tried = (np.arange(wanted) < _ALWAYS) | (np.count_nonzero(all_near, axis=1) <= _CROWD)
    boxes = np.empty((4, len(taken) + wanted))
    boxes[:, : len(taken)] = np.array(taken).reshape(-1, 4).T
    count = len(taken)
    found: list[Placed] = []
    for index in np.flatnonzero(tried & all_free.any(axis=1)).tolist():
        places, free = all_places[:, index], all_free[index]
        near = np.concatenate([boxes[:, :count], points[:, all_near[index]]], axis=1)
        covers = _overlaps(near[:, :, None], places[:, None, :])
        no_label = free & ~covers[:count].any(axis=0)
        free = no_label & ~covers[count:].any(axis=0)
        if not free.any() and index < must:
            covered = np.count_nonzero(covers[count:], axis=0)
            free = no_label & (covered == covered.min(where=no_label, initial=len(points.T)))
        if not free.any():
            continue
        last = None if before is None else before[index]
        place = last if last is not None and free[last] else int(free.argmax())
        boxes[:, count] = places[:, place]
        count += 1
        at_left, at_top = places[:2, place].tolist()
        found.append(Placed(index, at_left, at_top, place, PLACES[place][1] > 0))
    return found


def _boxes_around(
    circles: npt.NDArray[np.float64], sizes: npt.NDArray[np.float64], gap: float
) -> npt.NDArray[np.float64]:
    """(4, n, places) left, top, right, bottom of labels of ``sizes`` (n, 2) at each of `PLACES`."""
    x, y, radius = circles.T[:, :, None]
    width, height = sizes.T[:, :, None]
    away = (radius + gap * _RING_OF_PLACE) * _SHARE_OF_PLACE
    left = x + _SIDE_OF_PLACE[:, 0] * away + _SHIFT_OF_PLACE[:, 0] * width
    top = y + _SIDE_OF_PLACE[:, 1] * away + _SHIFT_OF_PLACE[:, 1] * height
    return np.array([left, top, left + width, top + height])


def _overlaps(boxes: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which of ``boxes`` (4, ...) lie on which of ``others`` (4, ...), broadcast against each other."""
    left, top, right, bottom = others
    return np.asarray((boxes[0] < right) & (left < boxes[2]) & (boxes[1] < bottom) & (top < boxes[3]))
