"""Weights as pixels: one pixel a cell, or the largest of several where cells are smaller than pixels."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PySide6.QtGui import QImage


def cells_per_pixel(cell_pixels: float) -> int:
    """The smallest power of two of cells that fills a device pixel."""
    return 1 if cell_pixels >= 1.0 else 2 ** math.ceil(math.log2(1.0 / cell_pixels) - 1e-9)


def max_pool(indices: npt.NDArray[np.uint8], factors: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """The largest of every block of ``factors`` rows and columns; the last blocks may be smaller."""
    down, across = factors
    if down > 1:
        indices = np.maximum.reduceat(indices, np.arange(0, indices.shape[0], down), axis=0)
    if across > 1:
        indices = np.maximum.reduceat(indices, np.arange(0, indices.shape[1], across), axis=1)
    return indices


def to_image(indices: npt.NDArray[np.uint8], pixels: npt.NDArray[np.uint32]) -> QImage:
    """A picture of rows of a colour table, given as 0xAARRGGBB in ``pixels`` (256,)."""
    argb = np.ascontiguousarray(pixels[indices])
    height, width = argb.shape
    # The copy owns its pixels: a QImage on a numpy buffer dies with the buffer.
    return QImage(argb.data, width, height, 4 * width, QImage.Format.Format_RGB32).copy()
