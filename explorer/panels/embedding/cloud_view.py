"""Which axes the cloud is drawn in, and what its colours say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PySide6.QtGui import QColor

from explorer.core.records import TokenCloud
from explorer.core.token_kinds import KINDS
from explorer.core.vectors import Arithmetic, Neighbourhood
from explorer.theme import Theme

ColorMode = Literal["plain", "kind", "token ID", "norm", "cosine"]
COLOR_MODES: tuple[tuple[ColorMode, str], ...] = (
    ("plain", "Nothing"),
    ("kind", "Kind of piece"),
    ("token ID", "Token ID (frequency rank in most vocabularies)"),
    ("norm", "Length of the vector"),
    ("cosine", "Cosine to the selected token"),
)
# An axis that a person builds from words; others are principal components, from 0.
WORDS = -1
PLAIN_OPACITY, COLORED_OPACITY = 0.45, 0.7
# Apart for colour-blind eyes, and none of the three colours that mean something already.
_KIND_COLORS = {
    False: ("#c2410c", "#7f93bd", "#a8498f", "#0e7490", "#7c5a3c", "#7a7a1f"),
    True: ("#ff8f5a", "#7d90b8", "#e08bc8", "#4fc3d9", "#c9a27c", "#c9c95a"),
}
# From little to much, dark to light on a dark ground and the other way on a light one (viridis' ends).
_RAMPS = {
    False: ("#cdd6e6", "#56a0a8", "#44197a"),
    True: ("#3a3370", "#3f8f8f", "#f2e355"),
}


@dataclass(frozen=True, eq=False)
class Axes:
    """The cloud in three chosen axes.

    Attributes
    ----------
    points : numpy.ndarray
        (V, 3) float32.
    origin : numpy.ndarray
        (3,) the zero vector's place.
    names : tuple of str
        What stands at the ends.
    choice : tuple of int
        Component of each, or `WORDS`.
    explained : float
        Share of the variance that the three explain; NaN where one is built from words, which is not
        at right angles to the others, so that shares do not add up.
    """

    points: npt.NDArray[np.float32]
    origin: npt.NDArray[np.float64]
    names: tuple[str, str, str]
    choice: tuple[int, int, int]
    explained: float

    @property
    def of_components(self) -> bool:
        """Whether any vector, not only a token, has its place in them."""
        return WORDS not in self.choice

    def place(self, coordinates: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """(…, 3) places of (…, components) coordinates."""
        known = np.asarray(coordinates, dtype=np.float64)
        places = np.zeros((*known.shape[:-1], 3))
        for axis, component in enumerate(self.choice):
            if 0 <= component < known.shape[-1]:
                places[..., axis] = known[..., component]
        return places


def choose_axes(cloud: TokenCloud, choice: tuple[int, int, int], words: Arithmetic | None) -> Axes:
    """Take three axes of the cloud; one that it does not have is left flat."""
    points = np.zeros((len(cloud.pieces), 3), dtype=np.float32)
    origin, names, shares = np.zeros(3), [], []
    for axis, component in enumerate(choice):
        if component == WORDS and words is not None:
            points[:, axis], origin[axis] = words.along, words.along_origin
            names.append(f"{words.expression} · {percent(words.along_share)}")
            shares.append(float("nan"))
        elif 0 <= component < cloud.coordinates.shape[1]:
            share = float(cloud.explained_variance_ratio[component])
            points[:, axis], origin[axis] = cloud.coordinates[:, component], cloud.origin[component]
            names.append(f"PC {component + 1} · {percent(share)}")
            shares.append(0.0 if component in choice[:axis] else share)
        else:
            names.append("")
    first, second, third = names
    return Axes(points, origin, (first, second, third), choice, float(sum(shares)))


@dataclass(frozen=True, slots=True)
class Legend:
    """What the colours mean: named ones, or a ramp between two numbers."""

    named: tuple[tuple[str, str], ...] = ()
    ramp: tuple[str, ...] = ()
    low: str = ""
    high: str = ""
    title: str = ""


def cloud_colors(
    cloud: TokenCloud, mode: ColorMode, theme: Theme, neighbourhood: Neighbourhood | None
) -> tuple[npt.NDArray[np.float32], Legend | None]:
    """(V, 4) float32 colours and what they mean. O(V)."""
    dark = theme.palette.dark
    count = len(cloud.pieces)
    if mode == "kind" and cloud.kinds is not None:
        table = np.array([QColor(name).getRgbF() for name in _KIND_COLORS[dark]], dtype=np.float32)
        colors = table[cloud.kinds]
        colors[:, 3] = COLORED_OPACITY
        there = np.unique(cloud.kinds)
        return colors, Legend(named=tuple((KINDS[kind], _KIND_COLORS[dark][kind]) for kind in there))
    values: npt.NDArray[np.float32] | None = None
    if mode == "token ID":
        values, title = np.arange(count, dtype=np.float32), "token ID"
    elif mode == "norm":
        values, title = cloud.norms, "length"
    elif mode == "cosine" and neighbourhood is not None:
        values, title = np.nan_to_num(neighbourhood.cosines), "cosine"
    if values is None or count == 0:
        plain = np.array(theme.color("point").getRgbF(), dtype=np.float32)
        plain[3] = PLAIN_OPACITY
        return np.tile(plain, (count, 1)), None
    # A few extremes are not to take all of the colours.
    low, high = (float(x) for x in np.quantile(values, (0.005, 0.995)))
    share = np.clip((values - low) / max(high - low, 1e-12), 0.0, 1.0)
    stops = np.array([QColor(name).getRgbF() for name in _RAMPS[dark]], dtype=np.float32)
    places = np.linspace(0.0, 1.0, len(stops))
    colors = np.empty((count, 4), dtype=np.float32)
    for channel in range(3):
        colors[:, channel] = np.interp(share, places, stops[:, channel])
    colors[:, 3] = COLORED_OPACITY
    digits = 0 if mode == "token ID" else 2
    return colors, Legend(
        ramp=_RAMPS[dark], low=f"{low:,.{digits}f}", high=f"{high:,.{digits}f}", title=title
    )


def percent(share: float) -> str:
    """A share as it is written, e.g. ``6.1 %``."""
    return f"{100.0 * share:.1f} %"
