"""Two runs side by side: which tokens belong together, and how far their distributions lie apart."""

from __future__ import annotations

import math
from dataclasses import dataclass
from difflib import SequenceMatcher

import numpy as np
import numpy.typing as npt

from explorer.core.records import ModelInfo, RunSnapshot, StepRecord

Probabilities = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class KeptRun:
    """A run as it stood when a person kept it, with what it ran on.

    Attributes
    ----------
    run : RunSnapshot
        The run.
    model : ModelInfo
        Which model, device and dtype.
    pieces : tuple of str or None
        The model's vocabulary, by token ID; None where it had not been read.
    name : str
        What it is called, e.g. by its branch; empty for the run as a whole.
    """

    run: RunSnapshot
    model: ModelInfo
    pieces: tuple[str, ...] | None
    name: str = ""

    @property
    def summary(self) -> str:
        """What it is, in one line, e.g. ``fr-en · float32 · greedy``."""
        params = self.run.steps[-1].params if self.run.steps else self.run.params
        languages = self.run.languages.summary
        parts = [self.name, self.model.name, self.model.dtype, languages, params.summary]
        return " · ".join(part for part in parts if part)

    def shares_vocabulary(self, other: KeptRun) -> bool:
        """Whether a token ID means the same in both: only then can distributions be compared whole."""
        if self.model.vocabulary_size != other.model.vocabulary_size:
            return False
        if self.pieces is not None and other.pieces is not None:
            return self.pieces is other.pieces or self.pieces == other.pieces
        return self.model.source == other.model.source


@dataclass(frozen=True, eq=False)
class Alignment:
    """Steps of two runs, side by side.

    Attributes
    ----------
    pairs : tuple of (int or None, int or None)
        (step of the first, step of the second), in order; None where one has no counterpart.
    equal : tuple of bool
        Whether both wrote the same there.
    """

    pairs: tuple[tuple[int | None, int | None], ...]
    equal: tuple[bool, ...]

    @property
    def first_difference(self) -> int | None:
        """The first pair that is not equal; None where there is none."""
        return next((place for place, same in enumerate(self.equal) if not same), None)

    def place_of(self, second: int) -> int:
        """The pair in which a step of the second run stands."""
        return next(place for place, (_, b) in enumerate(self.pairs) if b == second)


def align(first: KeptRun, second: KeptRun) -> Alignment:
    """Put the steps of two runs side by side, keeping as much as possible equal.

    By token ID where the vocabulary is the same, else by the tokens' text. Steps between two equal
    stretches are paired in order.
    """
    same_ids = first.shares_vocabulary(second)

    def keys(run: RunSnapshot) -> list[int | str]:
        return [step.token.id if same_ids else step.token.text.strip() for step in run.steps]

    a, b = keys(first.run), keys(second.run)
    # What both begin and end with needs no search: a run beside itself grown is the usual case.
    start = _common(a, b)
    end = _common(a[start:][::-1], b[start:][::-1])
    middle = SequenceMatcher(None, a[start : len(a) - end], b[start : len(b) - end], autojunk=False)
    pairs: list[tuple[int | None, int | None]] = [(i, i) for i in range(start)]
    for _, a0, a1, b0, b1 in middle.get_opcodes():
        for place in range(max(a1 - a0, b1 - b0)):
            left = start + a0 + place if a0 + place < a1 else None
            right = start + b0 + place if b0 + place < b1 else None
            pairs.append((left, right))
    pairs += [(len(a) - left, len(b) - left) for left in range(end, 0, -1)]
    equal = tuple(i is not None and j is not None and a[i] == b[j] for i, j in pairs)
    return Alignment(tuple(pairs), equal)


def _common(a: list[int | str], b: list[int | str]) -> int:
    """How many items both begin with."""
    pairs = enumerate(zip(a, b, strict=False))
    return next((i for i, (x, y) in pairs if x != y), min(len(a), len(b)))


def same_context(first: RunSnapshot, i: int, second: RunSnapshot, j: int) -> bool:
    """Whether both steps were chosen after the very same text."""
    before = first.token_ids[:i] == second.token_ids[:j]
    starts = [[token.id for token in run.start_tokens] for run in (first, second)]
    return before and starts[0] == starts[1] and first.source.ids == second.source.ids


def own_probabilities(step: StepRecord) -> Probabilities:
    """(V,) the model's own distribution at a step: temperature 1, nothing cut. O(V)."""
    scores = step.scores.astype(np.float64)
    weights = np.exp(scores - scores.max())
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def drawn_probabilities(step: StepRecord) -> Probabilities:
    """(V,) the distribution that the step's token was drawn from, under its own settings."""
    return np.asarray(step.distribution().probabilities, dtype=np.float64)


def total_variation(p: Probabilities, q: Probabilities) -> float:
    """Half the sum of absolute differences: 0 where they are the same, 1 where they share nothing."""
    return 0.5 * float(np.abs(p - q).sum())


def divergence_bits(p: Probabilities, q: Probabilities) -> float:
    """Kullback-Leibler divergence of ``q`` from ``p``, D(p ‖ q) in bits; infinite where q excludes some of p.

    Source: Kullback & Leibler, 1951.
    """
    there = p > 0
    if bool(np.any(q[there] == 0)):
        return math.inf
    return max(0.0, float(np.sum(p[there] * np.log2(p[there] / q[there]))))


@dataclass(frozen=True, slots=True)
class Bar:
    """One token's probability in both distributions.

    Attributes
    ----------
    piece : str
        Which token.
    first, second : float or None
        Its probabilities; None where that vocabulary does not have the piece.
    """

    piece: str
    first: float | None
    second: float | None


def overlay(
    first: KeptRun, p: Probabilities, second: KeptRun, q: Probabilities, count: int
) -> tuple[Bar, ...]:
    """The ``count`` tokens that are most likely in either distribution, likeliest first.

    In one vocabulary by token ID; in two by piece, for pieces that are written the same in both, and
    with the others standing alone. Empty where two vocabularies are not both known.
    """
    if first.shares_vocabulary(second):
        larger = np.maximum(p, q)
        pieces = first.pieces or second.pieces
        ids = _largest(larger, count)
        return tuple(Bar(pieces[i] if pieces is not None else f"#{i}", float(p[i]), float(q[i])) for i in ids)
    if first.pieces is None or second.pieces is None:
        return ()
    bars: dict[str, Bar] = {}
    for i in _largest(p, count):
        piece = first.pieces[i]
        bars[piece] = Bar(piece, float(p[i]), _probability_of(piece, second.pieces, q))
    for i in _largest(q, count):
        piece = second.pieces[i]
        if piece not in bars:
            bars[piece] = Bar(piece, _probability_of(piece, first.pieces, p), float(q[i]))
    ranked = sorted(bars.values(), key=lambda bar: -max(bar.first or 0.0, bar.second or 0.0))
    return tuple(ranked[:count])


def _largest(values: Probabilities, count: int) -> list[int]:
    count = min(count, values.size)
    found = np.argpartition(-values, count - 1)[:count] if count < values.size else np.arange(values.size)
    ordered: list[int] = found[np.argsort(-values[found], kind="stable")].tolist()
    return ordered


def _probability_of(piece: str, pieces: tuple[str, ...], p: Probabilities) -> float | None:
    try:
        return float(p[pieces.index(piece)])
    except ValueError:
        return None
