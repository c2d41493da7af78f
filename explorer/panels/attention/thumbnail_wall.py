"""Many small maps in one picture: pure functions of numbers, so that a wall of heads is one paint.

Cost on two shared cores: 12 x 12 maps of 64 x 64 over 800 x 260 pixels about 2 ms, 24 x 16 about 4 ms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PySide6.QtGui import QImage

from explorer import colormaps

_PALE_SHARE = 0.25


@dataclass(frozen=True, eq=False)
class Wall:
    """Where thumbnails hang, in pixels.

    Attributes
    ----------
    lefts, tops : numpy.ndarray
        Of every column and of every row.
    width, height : int
        Of each thumbnail.
    size : tuple of int
        (width, height) of the whole picture.
    """

    lefts: npt.NDArray[np.int64]
    tops: npt.NDArray[np.int64]
    width: int
    height: int
    size: tuple[int, int]


def paint_wall(
    wall: Wall,
    thumbnails: npt.NDArray[np.uint8] | None,
    *,
    pale: npt.NDArray[np.bool_],
    table: npt.NDArray[np.uint8],
    surface: int,
    empty: int,
    edge: int,
) -> QImage:
    """Hang thumbnails row by row, each brought to the wall's size and edged.

    Parameters
    ----------
    wall : Wall
        Where they hang.
    thumbnails : numpy.ndarray or None
        (slot, query, key) uint8 rows of ``table``; None paints ``empty`` places.
    pale : numpy.ndarray
        (slot,) bool: those that are to step back.
    table : numpy.ndarray
        (256, 3) uint8 colours.
    surface, empty, edge : int
        Colours as 0xAARRGGBB. A thumbnail whose weights are near 0 would melt into the surface
        without an edge.
    """
    count, high, wide = len(pale), wall.height, wall.width
    if thumbnails is None:
        blocks = np.full((count, high, wide), np.uint32(empty))
    else:
        colors, fitted = colormaps.pixels(table), fit(fit(thumbnails, high, 1), wide, 2)
        blocks = colors[fitted]
        if pale.any():
            blocks[pale] = _mixed(colors, surface)[fitted[pale]]
    if min(high, wide) > 6:
        blocks[:, 0], blocks[:, -1], blocks[:, :, 0], blocks[:, :, -1] = (np.uint32(edge),) * 4
        if thumbnails is not None and pale.any():
            step_back = np.uint32(_mixed(np.array([edge], dtype=np.uint32), surface)[0])
            for line in ((pale, 0), (pale, -1), (pale, slice(None), 0), (pale, slice(None), -1)):
                blocks[line] = step_back
    width, height = wall.size
    canvas = np.full((height, width), np.uint32(surface))
    columns = len(wall.lefts)
    for slot, block in enumerate(blocks):
        top, left = wall.tops[slot // columns], wall.lefts[slot % columns]
        there = canvas[top : top + high, left : left + wide]
        there[...] = block[: there.shape[0], : there.shape[1]]
    return QImage(canvas.data, width, height, 4 * width, QImage.Format.Format_RGB32).copy()


def fit(indices: npt.NDArray[np.uint8], size: int, axis: int) -> npt.NDArray[np.uint8]:
    """Bring one axis to ``size``: cells are repeated to grow, and share their maximum to shrink."""
    have = indices.shape[axis]
    starts = np.arange(size) * have // size
    fitted = indices.take(starts, axis=axis)
    if have > size:
        last = np.append(starts[1:], have) - 1
        for offset in range(1, int((last - starts).max()) + 1):
            further = indices.take(np.minimum(starts + offset, last), axis=axis)
            np.maximum(fitted, further, out=fitted)
    return np.asarray(fitted, dtype=np.uint8)


def fit_mean(weights: npt.NDArray[np.float32], size: int, axis: int) -> npt.NDArray[np.float32]:
    """The same for weights, of which those that share a cell become their mean."""
    have = weights.shape[axis]
    starts = np.arange(size) * have // size
    if have <= size:
        return np.asarray(weights.take(starts, axis=axis), dtype=np.float32)
    counts = np.diff([*starts, have]).astype(np.float32)
    shape = [1] * weights.ndim
    shape[axis] = size
    return np.asarray(np.add.reduceat(weights, starts, axis=axis) / counts.reshape(shape), dtype=np.float32)


def _mixed(pixels: npt.NDArray[np.uint32], surface: int) -> npt.NDArray[np.uint32]:
    """Mostly surface, with a share of the colours left."""
    mixed = np.full(pixels.shape, 0xFF000000, dtype=np.uint32)
    for shift in (0, 8, 16):
        channel = (pixels >> np.uint32(shift)) & np.uint32(0xFF)
        ground = float((surface >> shift) & 0xFF)
        blended = np.rint(ground + (channel - ground) * _PALE_SHARE).astype(np.uint32)
        mixed |= blended << np.uint32(shift)
    return mixed
