"""How pieces, texts and probabilities are written on screen.

Token texts are hostile: they hold markup, control characters, right-to-left marks. Nothing here changes
the data; it only decides which characters are painted.
"""

from __future__ import annotations

import html

_LONGEST = 200
_SYMBOLS = {"\n": "↵", "\r": "↵", "\t": "⇥", "\u00a0": "⍽"}
# Joiners and variation selectors hold an emoji together: without them it falls apart into its parts.
_KEPT = frozenset("\u200c\u200d\ufe0e\ufe0f")


def visible_text(text: str) -> str:
    """Return ``text`` on one line, character for character: controls become symbols, spaces stay."""
    if text.isprintable():  # nearly every piece; none of the symbols stands for a printable character
        return text
    return "".join(
        _SYMBOLS.get(char, char if char.isprintable() or char in _KEPT or char == " " else "�")
        for char in text
    )


def visible_piece(piece: str) -> str:
    """Return a piece for a label: as `visible_text`, with spaces as ``␣`` and very long ones shortened."""
    if not piece:
        return "(empty)"
    short = piece if len(piece) <= _LONGEST else piece[: _LONGEST - 1] + "…"
    return visible_text(short).replace(" ", "␣")


def plain_tooltip(text: str, *, wrap: bool = False) -> str:
    """Return ``text`` so that Qt's tooltip shows it letter for letter; long sentences ``wrap``."""
    return f"<div style='white-space: {'pre-wrap' if wrap else 'pre'}'>{html.escape(text)}</div>"


def shorten(text: str, length: int) -> str:
    """Return at most ``length`` characters of ``text``, with an ellipsis where some are missing."""
    return text if len(text) <= length else text[: length - 1] + "…"


def probability_text(probability: float) -> str:
    """Return a probability in about five characters that never rounds to a certain 0 or 1."""
    if 0.0 < probability < 0.001:
        mantissa, exponent = f"{probability:.0e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    if 0.9995 <= probability < 1.0:
        return ">.999"
    return f"{probability:.3f}"
