"""What attention heads do on one text, as numbers: pure functions of their weights."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Flags = npt.NDArray[np.bool_]
PerHead = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Measure:
    """One number per head.

    Attributes
    ----------
    name : str
        As it is chosen, e.g. ``entropy``.
    meaning : str
        One sentence: what is measured, and its unit.
    unit : str
        What the number counts, e.g. ``bits``; empty for a share between 0 and 1.
    """

    name: str
    meaning: str
    unit: str = ""


ENTROPY = Measure(
    "entropy", "How spread out the weights of a row are, in bits: 0 when all are on one token.", "bits"
)
TO_SELF = Measure("to itself", "Weight on the token at the query's own place.")
TO_PREVIOUS = Measure("to the previous token", "Weight on the token just before the query's own place.")
TO_FIRST = Measure("to the first token", "Weight on the first token, where many heads park their attention.")
TO_SPECIAL = Measure("to special tokens", "Weight on the tokenizer's special tokens, such as </s>.")
TO_PUNCTUATION = Measure("to punctuation", "Weight on tokens made of punctuation alone.")
DISTANCE = Measure("distance", "Tokens between the query's own place and where it looks, weighted.", "tokens")
DIAGONAL = Measure(
    "diagonal",
    "How closely it goes along the diagonal: 1 when every token looks at the same relative place in the"
    " other sentence, 0 when at its far end.",
)

MEASURES = (
    ENTROPY,
    DIAGONAL,
    TO_SELF,
    TO_PREVIOUS,
    TO_FIRST,
    TO_SPECIAL,
    TO_PUNCTUATION,
    DISTANCE,
)


@dataclass(frozen=True, slots=True)
class HeadFilter:
    """Which heads are looked at: those whose measure is at least, or at most, a number.

    Attributes
    ----------
    measure : str
        Name of one of `MEASURES`.
    at_least : bool
        True keeps values of ``threshold`` and more, False those of ``threshold`` and less.
    threshold : float
        In the measure's own unit.
    """

    measure: str
    at_least: bool
    threshold: float

    def passing(self, measures: Mapping[Measure, PerHead]) -> npt.NDArray[np.bool_] | None:
        """(layer, head) bool; None where the measure is not taken on these maps."""
        values = measure_named(measures, self.measure)
        if values is None:
            return None
        return np.asarray(values >= self.threshold if self.at_least else values <= self.threshold)


def measure_named(measures: Mapping[Measure, PerHead], name: str) -> PerHead | None:
    """The values of the measure of that name; None where it is not taken on these maps."""
    return next((values for measure, values in measures.items() if measure.name == name), None)


def head_measures(
    weights: npt.NDArray[np.float32], *, special: Flags, punctuation: Flags, same_axes: bool
) -> dict[Measure, PerHead]:
    """Measure every head; each number is a mean over all query rows.

    Parameters
    ----------
    weights : numpy.ndarray
        (layer, head, query, key), not pooled. With no query or no key there is nothing to measure.
    special, punctuation : numpy.ndarray
        (key,) bool.
    same_axes : bool
        True where row i and column i stand at the same place of one text (self-attention); measures of
        distance are left out otherwise, and the diagonal one where it holds.

    Returns
    -------
    dict
        (layer, head) float64 per measure. Costs a few passes over the weights: 5 ms for 12 x 12 heads
        of 64 x 64.
    """
    queries, keys = weights.shape[2:]
    if not queries or not keys:
        return {}
    received = weights.mean(axis=2, dtype=np.float64)  # (layer, head, key)
    found = {ENTROPY: _entropy(weights)}
    places = np.arange(queries)[:, None], np.arange(keys)[None, :]
    if same_axes:
        found[TO_SELF] = _along_diagonal(weights, 0)
        found[TO_PREVIOUS] = _along_diagonal(weights, -1)
        found[DISTANCE] = _mean_of(weights, np.abs(places[0] - places[1]))
    else:
        relative = np.abs(places[0] / max(1, queries - 1) - places[1] / max(1, keys - 1))
        found[DIAGONAL] = _mean_of(weights, 1.0 - relative)
    found[TO_FIRST] = received[:, :, 0]
    found[TO_SPECIAL] = received[:, :, special].sum(axis=2)
    found[TO_PUNCTUATION] = received[:, :, punctuation].sum(axis=2)
    return found


def ranked_heads(values: PerHead) -> list[tuple[int, int]]:
    """All (layer, head), largest value first; equal ones in the model's order."""
    order = np.argsort(-values, axis=None, kind="stable")
    return [(int(layer), int(head)) for layer, head in zip(*np.divmod(order, values.shape[1]), strict=True)]


def is_punctuation(text: str) -> bool:
    """Whether a token's text is punctuation and nothing else, blanks aside."""
    marks = text.strip().strip("▁Ġ")
    return bool(marks) and all(unicodedata.category(mark).startswith("P") for mark in marks)


def _entropy(weights: npt.NDArray[np.float32]) -> PerHead:
    logs = np.log2(weights, out=np.zeros_like(weights), where=weights > 0)
    return np.asarray(-np.einsum("lhqk,lhqk->lh", weights, logs, dtype=np.float64) / weights.shape[2])


def _along_diagonal(weights: npt.NDArray[np.float32], offset: int) -> PerHead:
    diagonal = np.diagonal(weights, offset, axis1=2, axis2=3)
    return np.asarray(diagonal.sum(axis=-1, dtype=np.float64) / weights.shape[2])


def _mean_of(weights: npt.NDArray[np.float32], per_cell: npt.NDArray[np.number]) -> PerHead:
    """Mean over the rows of a quantity of each cell, weighted by attention."""
    layers, heads, queries, _ = weights.shape
    # As one product of a matrix and a vector, a tenth of what an einsum in float64 takes.
    summed = weights.reshape(layers * heads, -1) @ per_cell.astype(np.float32).ravel()
    return np.asarray(summed.reshape(layers, heads).astype(np.float64) / queries)
