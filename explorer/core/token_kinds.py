"""What kind of thing a vocabulary's piece is, as far as its characters tell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

KINDS = ("special", "word start", "continuation", "digits", "punctuation", "other script")
_SPECIAL, _START, _CONTINUATION, _DIGITS, _PUNCTUATION, _SCRIPT = range(len(KINDS))
_MARKS = ("▁", "Ġ")
_WORDPIECE = "##"
# Latin letters, with all their accents, end here; byte-level vocabularies spell other scripts in these.
_LAST_LATIN = "\u024f"


def token_kinds(pieces: Sequence[str], special_ids: frozenset[int]) -> npt.NDArray[np.uint8]:
    """(V,) index into `KINDS` of every piece. O(V), 0.2 s for 262,144: not for the GUI thread."""
    wordpiece = sum(piece.startswith(_WORDPIECE) for piece in pieces) > len(pieces) // 100
    kinds = np.empty(len(pieces), dtype=np.uint8)
    for token_id, piece in enumerate(pieces):
        kinds[token_id] = _SPECIAL if token_id in special_ids else _kind(piece, wordpiece)
    return kinds


def _kind(piece: str, wordpiece: bool) -> int:
    if wordpiece:
        bare = piece.removeprefix(_WORDPIECE)
        start = bare is piece or bare == piece
    else:
        bare = piece.lstrip("▁Ġ")
        start = piece.startswith(_MARKS)
    if bare.isdigit():
        return _DIGITS
    letters = [char for char in bare if char.isalpha()]
    if not letters:
        return _PUNCTUATION
    if any(char > _LAST_LATIN for char in letters):
        return _SCRIPT
    return _START if start else _CONTINUATION
