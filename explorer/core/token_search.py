"""Finding tokens of a vocabulary by text, by ID, or by a regular expression."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

# Of more hits than this only the first are looked at.
MOST_HITS = 20_000


class TokenIndex:
    """A vocabulary's pieces, laid out for searching. O(total length) to make and per search, all in C.

    Parameters
    ----------
    pieces : sequence of str
        (V,) piece of each token ID.
    """

    def __init__(self, pieces: Sequence[str]) -> None:
        self._pieces = pieces
        # One piece a line; a line break within one must not start another.
        flat = [piece.replace("\n", "\N{SYMBOL FOR NEWLINE}") for piece in pieces]
        self._text = "\n".join(flat)
        self._starts = np.cumsum([0, *(len(piece) + 1 for piece in flat)])[:-1]

    def find(self, query: str, limit: int = 100) -> tuple[int, ...]:
        """Token IDs that fit, best first.

        ``#12`` and a bare number name an ID (a bare number also fits pieces that hold it), ``/…/`` is a
        regular expression, anything else a text, in whichever case. Exact pieces come first, with or
        without a word-start mark, then short ones.

        Raises
        ------
        ValueError
            The regular expression is not one; the message says why.
        """
        query = query.strip()
        if not query:
            return ()
        if len(query) > 2 and query.startswith("/") and query.endswith("/"):
            return self._ranked(self._matches(query[1:-1]), "")[:limit]
        number = query.removeprefix("#")
        named: list[int] = []
        if number.isdecimal() and int(number) < len(self._pieces):
            named = [int(number)]
        if query.startswith("#") and number.isdecimal():
            return tuple(named)
        found = self._ranked(self._matches(re.escape(query)), query.lower())
        return tuple(dict.fromkeys([*named, *found]))[:limit]

    def _matches(self, pattern: str) -> list[int]:
        try:
            expression = re.compile(pattern, re.IGNORECASE | re.MULTILINE)
        except re.error as error:
            raise ValueError(f"This is no regular expression: {error}.") from error
        places = []
        for match in expression.finditer(self._text):
            places.append(match.start())
            if len(places) >= MOST_HITS:
                break
        rows = np.searchsorted(self._starts, places, side="right") - 1
        return list(dict.fromkeys(rows.tolist()))

    def _ranked(self, rows: list[int], exact: str) -> tuple[int, ...]:
        def key(row: int) -> tuple[bool, int, int]:
            piece = self._pieces[row]
            return (piece.lstrip("▁Ġ").removeprefix("##").lower() != exact, len(piece), row)

        return tuple(sorted(rows, key=key))
