"""What is drawn of one attention weight, and what each place of its picture says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QPointF, QRectF

from explorer.core.records import CellReading
from explorer.core.weight_steps import Term, number, slot_starts
from explorer.panels.attention.map_content import AxisToken

_DIGITS = 9


@dataclass(frozen=True, eq=False)
class WeightContent:
    """A weight's reading and its tokens; ``keys`` are the columns of its row."""

    cell: CellReading
    query: AxisToken
    keys: tuple[AxisToken, ...]

    @property
    def key(self) -> AxisToken:
        """The key that the weight belongs to."""
        return self.keys[self.cell.column]


@dataclass(frozen=True, slots=True)
class WeightHit:
    """What the pointer is on: a strip or ``term``, and the index of a dimension, a key, or a step.

    ``key`` is set in the values alone; ``sharing`` says how many numbers the place stands for.
    """

    strip: str
    index: int
    key: int = 0
    sharing: int = 1


def hit_in_strip(
    cell: CellReading, order: npt.NDArray[np.intp], name: str, rect: QRectF, point: QPointF
) -> WeightHit | None:
    """What is at a point of a strip; of all that share a pixel the strongest.

    Parameters
    ----------
    order : numpy.ndarray
        (d,) dimensions of query and key from left to right.
    name, rect : str, QRectF
        The strip and where it stands.
    """
    across = (point.x() - rect.left()) / rect.width()
    width = max(1, int(rect.width()))
    if name in ("query", "key", "product"):
        place, sharing = _slot(np.abs(cell.products[order]), width, across)
        return WeightHit(name, int(order[place]), sharing=sharing)
    if name in ("scores", "weights"):
        column, sharing = _slot(cell.row_weights, width, across)
        return WeightHit(name, column, sharing=sharing)
    if name == "mixture":
        dimension, sharing = _slot(np.abs(cell.output), width, across)
        return WeightHit(name, dimension, sharing=sharing)
    top, bottom = _shared(cell.values.shape[0], int(rect.height()), (point.y() - rect.top()) / rect.height())
    left, right = _shared(cell.values.shape[1], width, across)
    block = np.abs(cell.values[top:bottom, left:right])
    row, column = divmod(int(block.argmax()), block.shape[1])
    return WeightHit(name, left + column, top + row, block.size)


def describe(content: WeightContent, terms: tuple[Term, ...], hit: WeightHit) -> str:
    """What a place says, to nine significant digits, which give back the very float32."""
    cell, i = content.cell, hit.index
    if hit.strip == "term":
        return f"{terms[i].name} {terms[i].text(_DIGITS)}: {terms[i].meaning}"
    if hit.strip in ("query", "key", "product"):
        product = _exact(cell.products[i])
        said = f"dimension {i}: {_exact(cell.query[i])} × {_exact(cell.key[i])} = {product}"
    elif hit.strip in ("scores", "weights"):
        score, weight = _exact(cell.row_scores[i]), _exact(cell.row_weights[i])
        said = f"{content.keys[i].label}: score {score}, weight {weight}"
    elif hit.strip == "values":
        value, weight = _exact(cell.values[hit.key, i]), _exact(cell.row_weights[hit.key])
        said = f"{content.keys[hit.key].label}, dimension {i}: value {value}, mixed in × {weight}"
    else:
        said = f"mixture, dimension {i}: {_exact(cell.output[i])}"
    return said if hit.sharing == 1 else f"{said} (strongest of {hit.sharing} here)"


def _exact(value: np.float32) -> str:
    return number(float(value), _DIGITS)


def _shared(count: int, slots: int, share: float) -> tuple[int, int]:
    """First and last (exclusive) of the things in the slot at ``share``, 0 to 1."""
    starts = slot_starts(count, max(1, slots))
    slot = min(int(share * len(starts)), len(starts) - 1)
    return int(starts[slot]), int(starts[slot + 1]) if slot + 1 < len(starts) else count


def _slot(strength: npt.NDArray[np.floating], slots: int, share: float) -> tuple[int, int]:
    """(index of the strongest, how many share its slot) at ``share``, 0 to 1."""
    first, last = _shared(len(strength), slots, share)
    return first + int(strength[first:last].argmax()), last - first
