"""What is asked of token vectors beyond a pair: neighbours, sums, many cosines, the way through layers."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from explorer.core.records import PairReading
from explorer.core.selection import TokenRef

VectorMode = Literal["raw", "centred", "normalised"]
VECTOR_MODES: tuple[VectorMode, ...] = ("raw", "centred", "normalised")
Ranked = tuple[tuple[int, float], ...]


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """What lies around one token in the full space.

    Attributes
    ----------
    token_id : int
        Which token.
    by_cosine, by_distance : tuple of (token ID, value)
        The nearest others: largest cosine first, smallest Euclidean distance first.
    cosines : numpy.ndarray
        (V,) float32 cosine of every token with it; NaN for zero vectors.
    """

    token_id: int
    by_cosine: Ranked
    by_distance: Ranked
    cosines: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Arithmetic:
    """A sum of token vectors, e.g. king - man + woman.

    Attributes
    ----------
    expression : str
        As it was asked for.
    plus, minus : tuple of int
        Token IDs that were added and taken away.
    nearest : tuple of (token ID, cosine)
        Tokens nearest to the sum, its inputs left out.
    coordinates : numpy.ndarray
        (components,) float32; where the sum falls in the cloud's axes.
    along : numpy.ndarray
        (V,) float32; every token's place along the sum's direction, the mean at 0.
    along_origin : float
        The zero vector's place along it.
    along_share : float
        Share of the total variance along it.
    """

    expression: str
    plus: tuple[int, ...]
    minus: tuple[int, ...]
    nearest: Ranked
    coordinates: npt.NDArray[np.float32]
    along: npt.NDArray[np.float32]
    along_origin: float
    along_share: float


@dataclass(frozen=True, eq=False)
class CosineMatrix:
    """Many tokens compared: ``cosines`` is (n, n) float64, in the order of ``ids``."""

    ids: tuple[int, ...]
    cosines: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TokenPath:
    """The sentence's vectors on their way through the model.

    Attributes
    ----------
    refs : tuple of TokenRef
        Whose vectors, (T,).
    stages : tuple of str
        Names of the (S,) stages, e.g. ``input embedding``, ``after encoder layer 0``.
    coordinates : numpy.ndarray
        (S, T, components) float32 in the vocabulary's axes; divided by ``scale``.
    gram : numpy.ndarray
        (S, T, T) float64 dot products of the vectors as the model has them.
    scale : float
        What the model multiplies its embeddings by before the first layer; 1 where it does not.
    notes : tuple of str
        What a person should know, one sentence each.
    run_id : int
        Which run it was read from.
    """

    refs: tuple[TokenRef, ...]
    stages: tuple[str, ...]
    coordinates: npt.NDArray[np.float32]
    gram: npt.NDArray[np.float64]
    scale: float
    notes: tuple[str, ...]
    run_id: int

    def ways(self, stage: float) -> npt.NDArray[np.float64]:
        """Where each token has come by.

        Parameters
        ----------
        stage : float
            0 to S - 1; between two stages, a vector lies on the straight line from one to the other.

        Returns
        -------
        numpy.ndarray
            (T, n, components) float64: each stage before ``stage``, then ``stage`` itself.
        """
        known = self.coordinates.astype(np.float64)
        before = min(int(stage), len(known) - 1)
        after = min(before + 1, len(known) - 1)
        share = stage - before
        here = (1.0 - share) * known[before] + share * known[after]
        return np.concatenate([known[: math.ceil(stage)], here[None]]).swapaxes(0, 1)

    def pair(self, stage: int, first: int, second: int, ids: tuple[int, int]) -> PairReading:
        """Two of the tokens compared at one stage."""
        gram = self.gram[stage]
        dot = float(gram[first, second])
        lengths = float(np.sqrt(max(gram[first, first], 0.0))), float(np.sqrt(max(gram[second, second], 0.0)))
        product = lengths[0] * lengths[1]
        cosine = float(np.clip(dot / product, -1.0, 1.0)) if product > 0.0 else float("nan")
        squared = max(0.0, float(gram[first, first] + gram[second, second]) - 2.0 * dot)
        degrees = float(np.degrees(np.arccos(cosine)))
        return PairReading(ids, cosine, degrees, dot, float(np.sqrt(squared)), lengths)


def parse_sum(expression: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Words to add and words to take away of e.g. ``king - man + woman``.

    A sign stands between spaces or at the beginning, so that a word may hold a hyphen.

    Raises
    ------
    ValueError
        There is no word where one is needed; the message says so.
    """
    parts = re.split(r"(?:^|\s+)([+-])(?:\s+|$)", f" {expression.strip()}")
    first, rest = parts[0].strip(), parts[1:]
    signed = ([("+", first)] if first else []) + list(
        zip(rest[::2], (w.strip() for w in rest[1::2]), strict=True)
    )
    if not signed or any(not word or " " in word for _, word in signed):
        raise ValueError("Write words with + and - between them, e.g. king - man + woman.")
    plus = tuple(word for sign, word in signed if sign == "+")
    return plus, tuple(word for sign, word in signed if sign == "-")
