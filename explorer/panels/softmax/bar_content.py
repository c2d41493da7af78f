"""What the bars of a step show: its most likely tokens, before and after reshaping."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from explorer.core.records import StepRecord
from explorer.core.sampling import CutName, Distribution

MOST_BARS = 50
CUT_LABELS: dict[CutName, str] = {
    "top_k": "top-k",
    "top_p": "top-p",
    "min_p": "min-p",
    "typical_p": "typical-p",
}


@dataclass(frozen=True, slots=True)
class Bar:
    """One token of the vocabulary in two distributions.

    Attributes
    ----------
    token_id, piece, rank
        Which token, and its place in the model's own order, 0 for the most likely.
    before : float
        Its probability as the model gave it: temperature 1, nothing cut.
    after : float
        Its probability after reshaping; 0 where it is cut.
    kept : bool
        Whether it can still be chosen.
    chosen : bool
        Whether this step chose it.
    """

    token_id: int
    piece: str
    rank: int
    before: float
    after: float
    kept: bool
    chosen: bool


@dataclass(frozen=True, slots=True)
class CutLine:
    """A boundary between ranks that stay and ranks that are cut.

    Attributes
    ----------
    rank : int
        The line stands before this rank.
    text : str
        Which setting cut there.
    """

    rank: int
    text: str


@dataclass(frozen=True, slots=True)
class BarContent:
    """What there is to draw.

    Attributes
    ----------
    bars : tuple of Bar
        By rank; a chosen token that is not among the most likely stands last, behind a gap.
    vocabulary : int
        Count of all tokens.
    rest_before, rest_after : float
        Mass of the tokens that have no bar.
    rest_kept : int
        How many of those can still be chosen.
    cut_lines : tuple of CutLine
        Where the cuts fall, also beyond the bars. None while a penalty changes the order, because the
        ranks that are cut are then not the ranks that the bars stand in.
    cumulative : tuple of float
        Mass of the ranks up to each bar's, after temperature and top-k: what top-p adds up. As many as
        there are bars in rank order; empty where a penalty changes the order, and when greedy.
    top_p : float or None
        Where top-p stops adding; None where it is off.
    """

    bars: tuple[Bar, ...]
    vocabulary: int
    rest_before: float
    rest_after: float
    rest_kept: int
    cut_lines: tuple[CutLine, ...]
    cumulative: tuple[float, ...] = ()
    top_p: float | None = None

    @property
    def gap(self) -> bool:
        """Whether the last bar stands apart from the ranks before it."""
        return len(self.bars) > 1 and self.bars[-1].rank > self.bars[-2].rank + 1

    @property
    def rest_count(self) -> int:
        """How many tokens have no bar."""
        return self.vocabulary - len(self.bars)


def read_bar(step: StepRecord, distribution: Distribution, token_id: int, piece: Callable[[int], str]) -> Bar:
    """Read one token, wherever it ranks. O(1) once the step's ranks are inverted."""
    return Bar(
        token_id=token_id,
        piece=piece(token_id),
        rank=step.ranked.rank(token_id),
        before=step.ranked.unshaped.probability(token_id),
        after=distribution.probability(token_id),
        kept=distribution.keeps_rank(distribution.ranked.rank(token_id)),
        chosen=token_id == step.token.id,
    )


def read_bars(
    step: StepRecord, distribution: Distribution, piece: Callable[[int], str], count: int = MOST_BARS
) -> BarContent:
    """Read the ``count`` most likely tokens, and the chosen one. O(bars), whatever the vocabulary."""
    ids = step.ranked.order[:count].tolist()
    if step.token.id not in ids:
        ids.append(step.token.id)
    bars = tuple(read_bar(step, distribution, token_id, piece) for token_id in ids)
    same_order = distribution.ranked is step.ranked
    rest_kept = distribution.kept_count - sum(bar.kept for bar in bars)
    return BarContent(
        bars=bars,
        vocabulary=step.ranked.vocabulary_size,
        rest_before=_rest([bar.before for bar in bars], step.ranked.vocabulary_size - len(bars)),
        rest_after=_rest([bar.after for bar in bars], rest_kept),
        rest_kept=rest_kept,
        cut_lines=_cut_lines(distribution) if same_order else (),
        cumulative=_cumulative(distribution, count) if same_order else (),
        top_p=distribution.params.top_p,
    )


def _rest(shown: list[float], others: int) -> float:
    # Without others nothing is left over, whatever the rounding of the float32 probabilities says.
    return max(0.0, 1.0 - sum(shown)) if others else 0.0


def _cumulative(distribution: Distribution, count: int) -> tuple[float, ...]:
    params = distribution.params
    if params.greedy:
        return ()
    before_top_p = params.with_changes(top_p=None, min_p=None, typical_p=None)
    summed = distribution.ranked.temper_and_cut(before_top_p).rank_probabilities[:count]
    return tuple(np.cumsum(summed, dtype=np.float64).tolist())


def _cut_lines(distribution: Distribution) -> tuple[CutLine, ...]:
    if distribution.params.greedy:
        # Ties for the first place: the one that is taken need not be the first by rank.
        return (CutLine(distribution.end_rank, "greedy"),)
    lines: list[CutLine] = []
    first, end = 0, distribution.ranked.vocabulary_size
    for cut in distribution.cuts:
        text = f"{CUT_LABELS[cut.name]} {cut.value:g}"
        if cut.first_rank > first:
            lines.append(CutLine(cut.first_rank, f"{text}: too likely"))
        if cut.end_rank < end:
            lines.append(CutLine(cut.end_rank, text))
        first, end = cut.first_rank, cut.end_rank
    return tuple(lines)


def exact_text(probability: float) -> str:
    """``probability`` to six significant digits, e.g. ``0.812345`` or ``1.23457e-08``."""
    return "0" if probability == 0 else f"{probability:#.6g}"


def percent_text(share: float) -> str:
    """``share`` as a percentage that is short but never claims 0 or 100 for less, e.g. ``3.2 %``."""
    percent = share * 100.0
    if percent in (0.0, 100.0):
        return f"{percent:.0f} %"
    if percent < 0.05:
        return "< 0.1 %"
    if percent >= 99.95:
        return "> 99.9 %"
    return f"{percent:.1f} %"
