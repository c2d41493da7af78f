"""What a person points at: one token, its partner, one head, one step.

A selection is sticky (click), a hover is not. Both speak of tokens by reference, so that the same
token can light up in every panel, whatever the panel draws it as.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Side = Literal["source", "start", "generated", "vocabulary"]
AttentionKind = Literal["encoder", "decoder", "cross"]
ATTENTION_KINDS: tuple[AttentionKind, ...] = ("encoder", "decoder", "cross")
# What a map is made of: one head, the mean over the heads of its layer, the mean over chosen heads of any
# layers, or the rollout up to its layer.
AttentionSummary = Literal["head", "mean", "chosen", "rollout"]
# What stands for several weights that share a cell of a thumbnail.
Pooling = Literal["max", "mean"]
# A head of one kind of attention: layer and head, counted from 0.
Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class TokenRef:
    """A token by where it stands.

    ``source``: index into the tokenized text. ``start``: index into the tokens that the decoder is
    given before its first step. ``generated``: index into the run's steps. ``vocabulary``: index is
    the token ID itself, for a token that is in no sentence.
    """

    side: Side
    index: int


@dataclass(frozen=True, slots=True)
class HeadRef:
    """One attention head; layer and head count from 0."""

    kind: AttentionKind
    layer: int
    head: int

    def __str__(self) -> str:
        """As it is named on screen, e.g. ``cross · layer 2 · head 5``."""
        return f"{self.kind} · layer {self.layer} · head {self.head}"


@dataclass(frozen=True, slots=True)
class Selection:
    """The selected token, its partner where a pair is being compared, and further picks.

    The first two are the pair that angle, arc and attention cell are of; further ones are compared
    with them as a matrix.
    """

    token: TokenRef | None = None
    partner: TokenRef | None = None
    further: tuple[TokenRef, ...] = ()

    @classmethod
    def of(cls, refs: Iterable[TokenRef]) -> Selection:
        """Select these, the first two as the pair."""
        picked = tuple(refs)
        token, partner = (*picked[:2], None, None)[:2]
        return cls(token, partner, picked[2:])

    def with_pick(self, ref: TokenRef) -> Selection:
        """Add ``ref``; a second pick of it drops it."""
        refs = self.refs
        return (
            Selection.of(other for other in refs if other != ref)
            if ref in refs
            else Selection.of((*refs, ref))
        )

    @property
    def ends(self) -> tuple[TokenRef, ...]:
        """The token and its partner, as far as there are any."""
        return tuple(ref for ref in (self.token, self.partner) if ref is not None)

    @property
    def refs(self) -> tuple[TokenRef, ...]:
        """All selected references, token first."""
        return (*self.ends, *self.further)


NOTHING = Selection()
