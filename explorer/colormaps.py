"""From weights to colours: even steps for the eye, and a scale that says what it does.

A heat map runs between two colours of the palette (white to deep blue, or the dark surface to pale
blue) along a straight line in OKLab, whose distances follow what people see: equal steps in weight
are equal steps in lightness, which colour-blind eyes and grey printers keep.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

Transform = Literal["linear", "square root", "log"]
TRANSFORMS: tuple[Transform, ...] = ("linear", "square root", "log")
LOG_DECADES = 4
STEPS = 256

# Björn Ottosson, "A perceptual color space for image processing" (2020).
_TO_CONE = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


@lru_cache(maxsize=16)
def heat_table(low: str, high: str) -> npt.NDArray[np.uint8]:
    """Colours from ``low`` to ``high``.

    Parameters
    ----------
    low, high : str
        ``#rrggbb``.

    Returns
    -------
    numpy.ndarray
        (256, 3) uint8 sRGB, evenly spaced in OKLab; the ends are exactly ``low`` and ``high``.
    """
    ends = np.array([_channels(low), _channels(high)], dtype=np.float64)
    lab = oklab(ends)
    mixed = lab[0] + np.linspace(0.0, 1.0, STEPS)[:, None] * (lab[1] - lab[0])  # (256, 3)
    cone = (mixed @ np.linalg.inv(_TO_LAB).T) ** 3
    linear = np.clip(cone @ np.linalg.inv(_TO_CONE).T, 0.0, 1.0)
    srgb = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    table: npt.NDArray[np.uint8] = np.rint(srgb * 255.0).astype(np.uint8)
    table.flags.writeable = False
    return table


def oklab(srgb: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """OKLab coordinates of (…, 3) sRGB colours given from 0 to 255."""
    cone = _linear_light(srgb) @ _TO_CONE.T
    return np.asarray(np.cbrt(cone) @ _TO_LAB.T)


def pixels(table: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
    """The table as opaque 32-bit pixels, as `QImage.Format_RGB32` lays them out."""
    wide = table.astype(np.uint32)
    return np.asarray(0xFF000000 | wide[:, 0] << 16 | wide[:, 1] << 8 | wide[:, 2], dtype=np.uint32)


def contrast(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Contrast ratio of sRGB colours (…, 3), 1 to 21, as WCAG 2.1 defines it."""
    one, two = _luminance(first), _luminance(second)
    return np.asarray((np.maximum(one, two) + 0.05) / (np.minimum(one, two) + 0.05))


def _luminance(srgb: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(_linear_light(srgb) @ np.array([0.2126, 0.7152, 0.0722]))


def _linear_light(srgb: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    unit = np.asarray(srgb, dtype=np.float64) / 255.0
    return np.where(unit <= 0.04045, unit / 12.92, ((unit + 0.055) / 1.055) ** 2.4)


def _channels(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


@dataclass(frozen=True, slots=True)
class ColorScale:
    """How a weight becomes a place on the colour map.

    Attributes
    ----------
    transform : str
        ``linear``; ``square root``, which lifts small weights; or ``log``, `LOG_DECADES` decades
        below ``top``, where everything smaller shares the lowest colour.
    top : float
        The weight that gets the strongest colour, above 0.
    """

    transform: Transform = "linear"
    top: float = 1.0

    @property
    def bottom(self) -> float:
        """The weight at and below which the lowest colour stands."""
        return self.top * 10.0**-LOG_DECADES if self.transform == "log" else 0.0

    def positions(self, weights: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Places on the colour map, 0 to 1, of weights of any shape; NaN counts as 0."""
        # fmax takes the other one where one is NaN.
        share = np.fmin(np.fmax(np.asarray(weights, dtype=np.float32) / np.float32(self.top), 0.0), 1.0)
        if self.transform == "square root":
            return np.asarray(np.sqrt(share), dtype=np.float32)
        if self.transform == "log":
            floor = np.float32(10.0**-LOG_DECADES)
            return np.asarray(1.0 + np.log10(np.maximum(share, floor)) / LOG_DECADES, dtype=np.float32)
        return np.asarray(share, dtype=np.float32)

    def indices(self, weights: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """Rows of `heat_table`; 4 to 12 ms for 1,024 x 1,024 weights."""
        places = self.positions(weights) * np.float32(STEPS - 1)
        return np.asarray(np.rint(places), dtype=np.uint8)

    def ticks(self) -> tuple[float, ...]:
        """Weights worth a mark on the scale bar, ends included."""
        if self.transform == "log":
            return tuple(self.top * 10.0**-power for power in range(LOG_DECADES, -1, -1))
        shares = (
            (0.0, 0.25, 0.5, 0.75, 1.0) if self.transform == "linear" else (0.0, 0.01, 0.1, 0.25, 0.5, 1.0)
        )
        return tuple(self.top * share for share in shares)


def top_of(weights: npt.NDArray[np.float32]) -> float:
    """The strongest weight of a map, as the top of a scale of its own; 1 where there is none above 0."""
    top = float(weights.max()) if weights.size else 0.0
    return top if np.isfinite(top) and top > 0.0 else 1.0
