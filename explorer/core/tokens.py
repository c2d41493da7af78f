"""Tokens as people meet them: an ID, the tokenizer's piece, and where it stands in the text."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a text.

    Attributes
    ----------
    id : int
        Row of the vocabulary.
    piece : str
        The tokenizer's own string for it, e.g. ``▁love``.
    text : str
        What it decodes to on its own, e.g. `` love``; may be empty or a replacement character
        where a token is part of a multi-byte character.
    span : tuple of (int, int) or None
        Half-open character range in the text that it came from; None for a token that no
        character stands behind (specials that the tokenizer adds, and every generated token).
    special : bool
        True for the tokenizer's special tokens, e.g. ``</s>``.
    """

    id: int
    piece: str
    text: str
    span: tuple[int, int] | None
    special: bool


@dataclass(frozen=True, slots=True)
class TokenizedText:
    """A text and its tokens, cut to the model's context.

    Attributes
    ----------
    text : str
        The whole text as it was given.
    tokens : tuple of Token
        What the model reads.
    cut_tokens : int
        How many tokens did not fit and were cut from the end; 0 when all fit.
    cut_text : str
        The characters that the cut tokens covered; empty when nothing was cut.
    language : str
        The language that it is read as, by the tokenizer's code; empty where the tokenizer knows none.
    """

    text: str
    tokens: tuple[Token, ...]
    cut_tokens: int = 0
    cut_text: str = ""
    language: str = ""

    @property
    def ids(self) -> tuple[int, ...]:
        """Token IDs, in order."""
        return tuple(token.id for token in self.tokens)

    def __len__(self) -> int:
        """Count of tokens that the model reads."""
        return len(self.tokens)
