"""An attention map with tokens merged into words, or not drawn. Pure; nothing is lost unsaid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from explorer.core.tokens import Token

# What SentencePiece and byte-level vocabularies write for the blank before a word.
_BLANKS = "▁Ġ"


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


def word_starts(tokens: Sequence[Token | None]) -> npt.NDArray[np.intp]:
    """Index of the first token of every word, where words are what stands between blanks.

    A token begins a word when its piece begins with a word-start mark, its text with a blank, or when
    there is a blank between it and the token before. Special tokens, and unknown ones (None), are each a
    word of their own. The first entry is 0; empty for no tokens.
    """
    starts = [
        index for index, token in enumerate(tokens) if index == 0 or _begins_word(tokens[index - 1], token)
    ]
    return np.array(starts, dtype=np.intp)


def _begins_word(before: Token | None, token: Token | None) -> bool:
    if before is None or token is None or before.special or token.special:
        return True
    if before.piece and not before.piece.strip(_BLANKS):
        # The mark stands alone, and this is the word that it marks.
        return False
    if token.piece.startswith("##"):
        return False
    if token.piece.startswith(tuple(_BLANKS)) or token.text[:1].isspace() or before.text[-1:].isspace():
        return True
    # The tokenizer leaves blanks out of its spans.
    return before.span is not None and token.span is not None and before.span[1] < token.span[0]


def merge_words(
    weights: npt.NDArray[np.float32], row_starts: npt.NDArray[np.intp], column_starts: npt.NDArray[np.intp]
) -> npt.NDArray[np.float32]:
    """Attention from words to words: the sum over a word's keys, the mean over its queries.

    What a word receives is all that its parts receive; what it gives is what its parts give on average,
    so that a row's sum stays what it was (Clark et al., 2019, arXiv 1906.04341). O(weights).

    Parameters
    ----------
    weights : numpy.ndarray
        (query, key) float32.
    row_starts, column_starts : numpy.ndarray
        First token of every word, see `word_starts`.

    Returns
    -------
    numpy.ndarray
        (query word, key word) float32.
    """
    if not weights.size:
        return weights[: len(row_starts), : len(column_starts)]
    summed = np.add.reduceat(weights, column_starts, axis=1, dtype=np.float64)
    summed = np.add.reduceat(summed, row_starts, axis=0)
    counts = np.diff([*row_starts, len(weights)])
    return (summed / counts[:, None]).astype(np.float32)
