"""What the ways of looking at one attention map share: its tokens, its weights, what is pointed at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from explorer.app.state import Emphasis
from explorer.core.selection import TokenRef
from explorer.panels.widgets.piece_text import shorten, visible_piece

_LONGEST_LABEL = 60


@dataclass(frozen=True, slots=True)
class AxisToken:
    """A row or column of a map.

    Attributes
    ----------
    ref : TokenRef
        Which token.
    token_id : int
        Its vocabulary row; -1 where it is not known.
    piece : str
        The tokenizer's own string for it, untouched.
    label : str
        The same, fit to be drawn on one line, see `label_of`.
    special : bool
        True for the tokenizer's special tokens.
    count : int
        How many tokens it stands for, ``ref`` being the first: more than 1 for a word of several.
    """

    ref: TokenRef
    token_id: int
    piece: str
    label: str
    special: bool = False
    count: int = 1

    @property
    def refs(self) -> tuple[TokenRef, ...]:
        """All tokens that it stands for."""
        return tuple(TokenRef(self.ref.side, self.ref.index + i) for i in range(self.count))


@dataclass(frozen=True, eq=False)
class MapContent:
    """One map as it is to be drawn; rows are queries, columns are keys.

    Attributes
    ----------
    weights : numpy.ndarray
        (row, column) float32: what is drawn and read out.
    rows, columns : tuple of AxisToken
        One per row, one per column.
    row_word, column_word : str
        What the token of a row and of a column does, e.g. ``written`` and ``read``.
    row_sums : numpy.ndarray
        (row,) float64 sums of ``weights`` over the columns.
    hidden_mass : numpy.ndarray
        (row,) float64 share of each row that stands in columns that are not drawn; zeros when all are.
    """

    weights: npt.NDArray[np.float32]
    rows: tuple[AxisToken, ...]
    columns: tuple[AxisToken, ...]
    row_word: str
    column_word: str
    row_sums: npt.NDArray[np.float64]
    hidden_mass: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class MapHit:
    """What the pointer is on: a cell (both are set), a row's token, or a column's token."""

    row: int | None = None
    column: int | None = None

    @property
    def is_cell(self) -> bool:
        """Whether it is a cell."""
        return self.row is not None and self.column is not None


@dataclass(frozen=True)
class MapEmphasis:
    """Which rows, columns and cells stand out; what is not named does not.

    ``marked_row`` is the row that wrote the viewed step's token.
    """

    rows: Mapping[int, Emphasis] = field(default_factory=dict)
    columns: Mapping[int, Emphasis] = field(default_factory=dict)
    cells: frozenset[tuple[int, int]] = frozenset()
    marked_row: int | None = None


@lru_cache(maxsize=10_000)
def label_of(piece: str) -> str:
    """A piece as one line of plain text, short enough to be measured and drawn a thousand times."""
    return shorten(visible_piece(piece), _LONGEST_LABEL)
