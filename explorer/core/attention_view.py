"""What is left of an attention map when some of its tokens are not drawn. Pure; nothing is lost unsaid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class VisibleMap:
    """The drawn part of a map.

    Attributes
    ----------
    weights : numpy.ndarray
        (row, column) float32.
    rows, columns : numpy.ndarray
        Indices into the whole map of what is drawn.
    row_sums : numpy.ndarray
        (row,) float64 sums of ``weights``.
    hidden_mass : numpy.ndarray
        (row,) float64 weight that each drawn row puts on columns that are not drawn.
    """

    weights: npt.NDArray[np.float32]
    rows: npt.NDArray[np.intp]
    columns: npt.NDArray[np.intp]
    row_sums: npt.NDArray[np.float64]
    hidden_mass: npt.NDArray[np.float64]

    @property
    def mean_hidden_mass(self) -> float:
        """Mean of ``hidden_mass`` over the drawn rows; 0 where there are none."""
        return float(self.hidden_mass.mean()) if self.hidden_mass.size else 0.0


def visible_map(
    weights: npt.NDArray[np.float32],
    hidden_rows: npt.NDArray[np.bool_] | None = None,
    hidden_columns: npt.NDArray[np.bool_] | None = None,
    *,
    renormalise: bool = False,
) -> VisibleMap:
    """Leave rows and columns out.

    Parameters
    ----------
    weights : numpy.ndarray
        (query, key) float32.
    hidden_rows, hidden_columns : numpy.ndarray or None
        (query,) and (key,) bool; None hides nothing.
    renormalise : bool
        Divide each row by its visible sum, so that it sums to 1 again. A row with nothing visible stays 0.
    """
    queries, keys = weights.shape
    rows = np.arange(queries) if hidden_rows is None else np.flatnonzero(~hidden_rows)
    columns = np.arange(keys) if hidden_columns is None else np.flatnonzero(~hidden_columns)
    if len(rows) == queries and len(columns) == keys:
        # Untouched: the very array of the model, no copy.
        drawn = weights
        hidden = np.zeros(queries)
    else:
        drawn = weights[np.ix_(rows, columns)]
        gone = np.setdiff1d(np.arange(keys), columns, assume_unique=True)
        hidden = weights[np.ix_(rows, gone)].sum(axis=1, dtype=np.float64)
    sums = drawn.sum(axis=1, dtype=np.float64)
    if renormalise and len(columns) < keys:
        drawn = (drawn / np.where(sums > 0.0, sums, 1.0)[:, None]).astype(np.float32)
        sums = drawn.sum(axis=1, dtype=np.float64)
    return VisibleMap(drawn, rows, columns, sums, hidden)
