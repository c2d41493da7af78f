"""The steps from a query and a key to one attention weight, and many numbers in few pixels. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from explorer.core.records import CellReading

Floats = npt.NDArray[np.float32]
# Rounding of half-precision models; what differs by more is part of the mask.
_ROUNDING = 2e-2
# No model means a score as low as this for anything but "must not look".
_LOWEST = -1e30


@dataclass(frozen=True, slots=True)
class Term:
    """One step of the arithmetic.

    Attributes
    ----------
    operator : str
        What joins it to what stands before it; empty for the first, and for a step that changes nothing.
    name : str
        What it is called.
    value : float or None
        Its number; None where ``word`` says it all.
    word : str
        What stands in the place of a number; empty where there is one.
    meaning : str
        One sentence for those who have not met it.
    """

    operator: str
    name: str
    value: float | None
    word: str = ""
    meaning: str = ""

    def text(self, digits: int = 5) -> str:
        """The number to so many significant digits, or the word."""
        return self.word if self.value is None else number(self.value, digits)


def number(value: float, digits: int = 5) -> str:
    """A number to so many significant digits, with a true minus sign."""
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    # Adding 0 turns a negative zero into a plain one.
    return f"{value + 0.0:.{digits}g}".replace("-", "−")


def weight_terms(cell: CellReading) -> tuple[Term, ...]:
    """Every step from the raw score to the weight, in the order of the computation."""
    terms = [
        Term("", "raw score", cell.raw_score, meaning="The sum of the products of query and key."),
        Term(
            "×",
            "scaling",
            cell.scaling,
            meaning="A constant of the model, most often 1 / √(dimensions); 1 where it does not scale.",
        ),
    ]
    score = cell.raw_score * cell.scaling
    if cell.bias < _LOWEST:
        meaning = "The model adds it together with the mask."
        terms.append(Term("", "position bias", None, "in the mask", meaning))
    elif cell.bias:
        meaning = "Added by the model for the distance between the two tokens' places."
        terms.append(Term("+", "position bias", cell.bias, meaning=meaning))
        score += cell.bias
    else:
        meaning = "Nothing is added for the tokens' places here."
        terms.append(Term("", "position bias", None, "none", meaning))
    if cell.softcap is not None:
        score = cell.softcap * math.tanh(score / cell.softcap)
        meaning = f"Kept within ±{cell.softcap:g} by {cell.softcap:g} · tanh(score / {cell.softcap:g})."
        terms.append(Term("→", f"soft cap {cell.softcap:g}", score, meaning=meaning))
    final = float(cell.row_scores[cell.column])
    added = final - score
    if cell.masked:
        terms.append(Term("", "mask", None, "masked", "This query may not look at this key."))
    elif abs(added) > _ROUNDING * max(1.0, abs(score)):
        terms.append(Term("+", "mask", added, meaning="The mask adds a number of its own here."))
    else:
        terms.append(Term("", "mask", None, "may look", "The query is allowed to look at this key."))
    terms.append(Term("=", "score", -math.inf if cell.masked else final, meaning="What enters the softmax."))
    meaning = "exp(score), divided by the sum of that over the whole row."
    terms.append(Term("→", "weight", cell.weight, meaning=meaning))
    return tuple(terms)


def largest_magnitude(values: npt.NDArray[np.floating]) -> float:
    """The largest absolute value; 1 where there is none above 0, so that it can be divided by."""
    finite = np.abs(values[np.isfinite(values)])
    return float(finite.max(initial=0.0)) or 1.0


def slot_starts(count: int, slots: int) -> npt.NDArray[np.intp]:
    """Where each slot begins when ``count`` things share at most ``slots`` places evenly."""
    shown = max(1, min(count, slots))
    return np.arange(shown, dtype=np.intp) * count // shown


def extremes(values: Floats, slots: int) -> tuple[Floats, Floats]:
    """(lowest, highest) of what shares each slot, 0 included, so that a bar from one to the other fits.

    O(values). At most ``slots`` entries each.
    """
    if not len(values):
        return np.zeros(0, dtype=np.float32), np.zeros(0, dtype=np.float32)
    starts = slot_starts(len(values), slots)
    lows = np.minimum(np.minimum.reduceat(values, starts), 0)
    return lows, np.maximum(np.maximum.reduceat(values, starts), 0)


def strongest(values: Floats, rows: int, columns: int) -> Floats:
    """Thin a matrix to at most ``rows`` x ``columns``; a cell is its entry of largest magnitude. O(size)."""
    if not values.size:
        return values
    for axis, most in ((0, rows), (1, columns)):
        if values.shape[axis] > most:
            starts = slot_starts(values.shape[axis], most)
            high = np.maximum.reduceat(values, starts, axis=axis)
            low = np.minimum.reduceat(values, starts, axis=axis)
            values = np.where(-low > high, low, high)
    return values
