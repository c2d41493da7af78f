"""What tells a model which place a token has: tables, sinusoids, biases or angles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

PositionKind = Literal["sinusoidal", "learned", "relative bias", "rotary", "none"]


@dataclass(frozen=True, eq=False)
class PositionEncoding:
    """The position encoding of one stack, as the checkpoint has it.

    Attributes
    ----------
    kind : str
        ``sinusoidal`` or ``learned`` (vectors that are added), ``relative bias`` (added to attention
        scores), ``rotary`` (angles that queries and keys are turned by), or ``none``.
    name : str
        What to call it where there are several: ``encoder``, ``decoder``, a kind of layer.
    stack : str
        ``encoder`` or ``decoder``: whose tokens have these positions.
    where : str
        The module that holds it; empty for ``none``.
    note : str
        One sentence for a person.
    vectors : numpy.ndarray or None
        (positions, dimensions) float32; row *p* is what is added at position *p*.
    cosines : numpy.ndarray or None
        (positions, positions) float64 cosine of every two of ``vectors``; NaN for zero vectors.
    bias : numpy.ndarray or None
        (heads, queries, keys) float32, added to the attention scores.
    causal : bool
        Whether keys after the query are masked, so that their bias is never used.
    frequencies : numpy.ndarray or None
        (pairs,) float64 radians a position, one for each pair of rotated dimensions.
    """

    kind: PositionKind
    name: str
    stack: Literal["encoder", "decoder"]
    where: str
    note: str
    vectors: npt.NDArray[np.float32] | None = None
    cosines: npt.NDArray[np.float64] | None = None
    bias: npt.NDArray[np.float32] | None = None
    causal: bool = False
    frequencies: npt.NDArray[np.float64] | None = None

    def angles(self, positions: int) -> npt.NDArray[np.float64]:
        """(positions, pairs) radians by which rotary encodings turn a pair, not reduced to one turn."""
        if self.frequencies is None:
            raise ValueError(f"A {self.kind} encoding has no angles.")
        return np.arange(positions)[:, None] * self.frequencies

    def bias_by_distance(self) -> npt.NDArray[np.float32]:
        """(heads, 2 n - 1) bias for keys from n - 1 before the query to n - 1 after it."""
        if self.bias is None:
            raise ValueError(f"A {self.kind} encoding has no bias.")
        # It depends on the distance alone: the last query sees all keys before, the first all after.
        return np.concatenate([self.bias[:, -1, :], self.bias[:, 0, 1:]], axis=1)


def cosine_matrix(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """(n, n) float64 cosines of (n, d) vectors; NaN where one is zero or not finite. O(n² d)."""
    wide = vectors.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        unit = wide / np.where(lengths > 0.0, lengths, np.nan)
        return np.clip(unit @ unit.T, -1.0, 1.0)


def turned_cosines(frequencies: npt.NDArray[np.float64], positions: int) -> npt.NDArray[np.float64]:
    """(n, n) cosine of one vector with itself, turned to two positions.

    The vector has equal shares in all rotated pairs: the mean of cos((m - n) f) over the pairs (Su et al.,
    "RoFormer", 2021, section 3.4). O(n p).
    """
    falls = np.cos(np.arange(positions)[:, None] * frequencies).mean(axis=1)
    places = np.arange(positions)
    return np.asarray(falls[np.abs(places[:, None] - places)])
