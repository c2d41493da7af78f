"""How a slider's positions stand for values: linear or logarithmic, with a stop that means "off"."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """A range of values, with one more stop before or behind it.

    Attributes
    ----------
    low, high : float
        Ends of the range that the slider runs over.
    step : float
        What one press of an arrow key adds.
    decimals : int
        Digits behind the point that the slider sets; 0 for whole numbers. Typed values keep theirs.
    off_value : float or None
        The value of the extra stop.
    off_text : str
        What the extra stop is called, e.g. ``off`` or ``greedy``.
    off_first : bool
        Whether the extra stop is on the left.
    logarithmic : bool
        Whether equal ways on the slider are equal factors.
    entry_low, entry_high : float or None
        Ends of what may be typed, where they lie outside of the slider's.
    positions : int
        Count of positions of the range, without the extra stop.
    """

    low: float
    high: float
    step: float
    decimals: int
    off_value: float | None
    off_text: str
    off_first: bool
    logarithmic: bool = False
    entry_low: float | None = None
    entry_high: float | None = None
    positions: int = 500

    @property
    def last_position(self) -> int:
        """The rightmost position; the leftmost is 0."""
        return self.positions

    def value(self, position: int) -> float | None:
        """The value at a slider position."""
        if position == (0 if self.off_first else self.positions):
            return self.off_value
        way = (position - self.off_first) / (self.positions - 1)
        if self.logarithmic:
            raw = self.low * (self.high / self.low) ** way
        else:
            raw = self.low + (self.high - self.low) * way
        return self._whole(min(max(round(raw, self.decimals), self.low), self.high))

    def position(self, value: float | None) -> int:
        """The slider position nearest to ``value``."""
        if value is None or value == self.off_value:
            return 0 if self.off_first else self.positions
        value = min(max(value, self.low), self.high)
        if self.high == self.low:
            way = 0.0
        elif self.logarithmic:
            way = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            way = (value - self.low) / (self.high - self.low)
        return int(self.off_first) + round(way * (self.positions - 1))

    def stepped(self, value: float | None, steps: int) -> float | None:
        """The value some arrow presses away; the extra stop is one press beyond its end."""
        ends = (self.low, self.high)
        if value is None or value == self.off_value:
            inwards = 1 if self.off_first else -1
            return self._whole(ends[0 if self.off_first else 1]) if steps * inwards > 0 else self.off_value
        # Onto the next whole step, so that values set by hand come back to round numbers.
        grid = value / self.step
        on_grid = math.floor(grid + 1e-9) if steps > 0 else math.ceil(grid - 1e-9)
        moved = round((on_grid + steps) * self.step, 9)
        if self.off_first and value <= self.low and steps < 0:
            return self.off_value
        if not self.off_first and value >= self.high and steps > 0:
            return self.off_value
        return self._whole(min(max(moved, self.low), self.high))

    def text(self, value: float | None) -> str:
        """``value`` as the entry box shows it: exact, with at least the slider's digits."""
        if value is None or value == self.off_value:
            return self.off_text
        fixed = f"{value:.{self.decimals}f}"
        return fixed if float(fixed) == value else repr(value)

    @property
    def entry_range(self) -> tuple[float, float]:
        """Ends of what may be typed."""
        return (
            self.low if self.entry_low is None else self.entry_low,
            self.high if self.entry_high is None else self.entry_high,
        )

    def parse(self, text: str) -> float | None:
        """The value that was typed, brought into range.

        Raises
        ------
        ValueError
            It is neither a number nor the name of the extra stop.
        """
        text = text.strip().lower()
        if text in (self.off_text, ""):
            return self.off_value
        value = float(text.replace(",", "."))
        if not math.isfinite(value):
            raise ValueError(f"not a finite number: {text}")
        if value == self.off_value:
            return self.off_value
        low, high = self.entry_range
        value = min(max(value, low), high)
        if self.off_value is None and self.off_first and low <= value <= 0.0 < self.low:
            return None  # below what the slider reaches, 0 is what "off" means
        return self._whole(value)

    def _whole(self, value: float) -> float:
        return round(value) if self.decimals == 0 else value
