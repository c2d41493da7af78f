"""Where the bars, their labels and the axis of a distribution stand."""

from __future__ import annotations

import math
from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRectF

LABEL_DEGREES = 45.0
LABEL_COSINE = math.cos(math.radians(LABEL_DEGREES))
LABEL_SINE = math.sin(math.radians(LABEL_DEGREES))
_SLANT = LABEL_SINE / LABEL_COSINE
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
LOG_FLOOR = 1e-6
_LOWEST_DECADE = -12


@dataclass(frozen=True, slots=True)
class Axis:
    """The y axis: probability from ``low`` to ``high``.

    Attributes
    ----------
    low, high : float
        Its ends; ``low`` is above 0 on a logarithmic axis.
    logarithmic : bool
        Whether equal ways are equal factors.
    """

    low: float
    high: float
    logarithmic: bool

    def way(self, probability: float) -> float:
        """How far up ``probability`` stands: 0 at the bottom, 1 at the top, clamped to these."""
        if probability <= self.low:
            return 0.0
        if self.logarithmic:
            way = math.log10(probability / self.low) / math.log10(self.high / self.low)
        else:
            way = (probability - self.low) / (self.high - self.low)
        return min(way, 1.0)

    def ticks(self, most: int) -> list[tuple[float, str]]:
        """At most about ``most`` (value, text) pairs, lowest first."""
        most = max(2, most)
        if self.logarithmic:
            first, last = round(math.log10(self.low)), math.floor(math.log10(self.high) + 1e-9)
            stride = max(1, math.ceil((last - first + 1) / most))
            powers = range(last, first - 1, -stride)
            return [(10.0**power, _power_text(power)) for power in reversed(powers)]
        step = _round_step((self.high - self.low) / most)
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        if round(step, decimals) != round(step, 9):
            decimals += 1
        count = math.floor((self.high - self.low) / step + 1e-6)
        return [(i * step, f"{i * step:.{decimals}f}") for i in range(count + 1)]


def make_axis(probabilities: list[float], *, logarithmic: bool, fitted: bool) -> Axis:
    """Return the axis from 0 (or 1e-6, logarithmic) to 1, or one fitted to ``probabilities``."""
    positive = [p for p in probabilities if p > 0] or [1.0]
    highest = max(positive)
    if logarithmic:
        if not fitted:
            return Axis(LOG_FLOOR, 1.0, True)
        low = max(_LOWEST_DECADE, math.floor(math.log10(min(positive)) + 1e-9))
        high = min(0, math.ceil(math.log10(highest) - 1e-9))
        return Axis(10.0 ** min(low, high - 1), 10.0**high, True)
    if not fitted:
        return Axis(0.0, 1.0, False)
    step = _round_step(highest / 5)
    return Axis(0.0, min(1.0, math.ceil(highest / step - 1e-9) * step), False)


def _round_step(at_least: float) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(at_least))
    for factor in (1.0, 2.0, 2.5, 5.0):
        if factor * power >= at_least * (1 - 1e-9):
            return factor * power
    return 10.0 * power


def _power_text(power: int) -> str:
    return "1" if power == 0 else "10" + str(power).translate(_SUPERSCRIPTS)


@dataclass(frozen=True, slots=True)
class BarGeometry:
    """Places of all bars in widget pixels.

    Attributes
    ----------
    plot : QRectF
        Where the bars stand; its bottom is the base line.
    count : int
        How many slots there are, a gap's slot included.
    gap_at : int or None
        The slot that is left free before the last bar.
    label_depth : float
        Height of the labels' strip below the base line.
    """

    plot: QRectF
    count: int
    gap_at: int | None
    label_depth: float

    @property
    def slot_width(self) -> float:
        """Width of one pair of bars with its share of the space between."""
        return self.plot.width() / max(1, self.count)

    def slot(self, bar: int) -> int:
        """The slot of a bar."""
        return bar + 1 if self.gap_at is not None and bar >= self.gap_at else bar

    def left(self, bar: int) -> float:
        """Left end of a bar's slot."""
        return self.plot.left() + self.slot(bar) * self.slot_width

    def middle(self, bar: int) -> float:
        """Middle of a bar's slot."""
        return self.left(bar) + self.slot_width / 2

    def column(self, bar: int) -> QRectF:
        """The bar's slot, as high as the plot."""
        return QRectF(self.left(bar), self.plot.top(), self.slot_width, self.plot.height())

    def bar_at(self, point: QPointF) -> int | None:
        """Which bar's slot or slanted label is at ``point``; None outside of all."""
        if not self.plot.top() <= point.y() <= self.plot.bottom() + self.label_depth:
            return None
        below = max(0.0, point.y() - self.plot.bottom())
        slot = math.floor((point.x() - below / _SLANT - self.plot.left()) / self.slot_width)
        if not 0 <= slot < self.count or slot == self.gap_at:
            return None
        return slot - 1 if self.gap_at is not None and slot > self.gap_at else slot
