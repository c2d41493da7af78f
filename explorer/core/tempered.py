"""Ranked logits at one temperature, and where each cut of transformers' chain falls among the ranks.

Whatever is worked out here goes only as far down the ranks as a cut looks, and is kept for the next
setting at the same temperature.
"""

from __future__ import annotations

import bisect
import math

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

_SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)
_LARGEST = float(np.finfo(np.float32).max)
# From here on a number rounds to infinity in float32.
_OVERFLOW = (2.0 - 2.0**-24) * 2.0**127
# Up to here, no difference of two numbers does.
_CALM = _LARGEST / 2
_BLOCK = 512
_NOTHING: FloatArray = np.empty(0, dtype=np.float32)
# Normalised probabilities kept at a time: one for each cut of a chain.
_KEPT_ENDS = 4


class TemperedLogits:
    """Scores by rank after temperature.

    Parameters
    ----------
    descending : numpy.ndarray
        (V,) float32 logits, the largest first; at least the first one is above -inf.
    temperature : float
        Above 0.
    best, lowest : float
        The first of them and the last.

    Attributes
    ----------
    end : int
        Ranks from here on are at -inf: banned before, or divided so far down. They are cut whatever the
        settings.

    Notes
    -----
    O(1) to make, or O(log V) where the quotients overflow. Threads that share one may work the same
    thing out twice; what is kept is only ever replaced whole.
    """

    # What has not been asked for yet. Here, because one of these is made at every move of a slider.
    _exponentials: FloatArray = _NOTHING
    _tails: tuple[int, npt.NDArray[np.float64]] | None = None
    _block_sums: tuple[int, npt.NDArray[np.float64]] | None = None
    _surprises: tuple[int, FloatArray, npt.NDArray[np.float64]] | None = None

    def __init__(self, descending: FloatArray, temperature: float, best: float, lowest: float) -> None:
        self._logits = descending
        self.temperature = temperature
        self._best = best
        self._divisor = np.float32(temperature) if _SMALLEST_NORMAL <= temperature <= _LARGEST else None
        self._divided_by = 0.0 if self._divisor is None else float(self._divisor)
        if self._divisor is not None and abs(best / self._divided_by) >= _OVERFLOW:
            self._divisor = None
        lowest = self._tempered(lowest)
        self.end = descending.size if lowest > -_OVERFLOW else self._find_end()
        self._plain = self._divisor is not None and lowest > -_CALM and best < _CALM * temperature
        self._normalised: dict[tuple[int, int], FloatArray] = {}
        self._sums: dict[tuple[int, int], float] = {}

    # -- by rank ------------------------------------------------------------------------------------

    def log_ratios(self, end: int) -> FloatArray:
        """(end,) float32; score less best score of the first ranks, subtracted after the division. O(end)."""
        scores: FloatArray
        if self._divisor is not None and self._plain:
            scores = self._logits[:end] / self._divisor
            scores -= scores[0]
            return scores
        with np.errstate(over="ignore"):
            if self._divisor is not None:
                scores = self._logits[:end] / self._divisor
                scores -= scores[0]
                return scores
            # The quotient overflows float32. Shifted first, it does not, and the distribution is the same.
            shifted = self._logits[:end].astype(np.float64) - self._best
            return (shifted / self.temperature).astype(np.float32)

    def exponentials(self, end: int) -> FloatArray:
        """(end,) float32; `log_ratios`, exponentiated; not to be written to. O(end) once."""
        known = self._exponentials
        if known.size < end:
            # When it grows, it grows by half at least: a slider that creeps up does not start over each time.
            ratios = self.log_ratios(min(self.end, max(end, known.size * 3 // 2)))
            known = self._exponentials = np.exp(ratios, out=ratios)
        return known[:end]

    def exponential(self, rank: int) -> np.float32:
        """One of `exponentials`."""
        return self.exponentials(rank + 1)[rank]  # type: ignore[no-any-return]

    def sum(self, first: int, end: int) -> float:
        """Sum of the exponentials of ranks ``first`` to ``end``, in float64. O(end) once."""
        total = self._sums.get((first, end))
        return self._add_up(self.exponentials(end)[first:], first, end) if total is None else total

    def _add_up(self, exponentials: FloatArray, first: int, end: int) -> float:
        if len(self._sums) >= 2 * _KEPT_ENDS:
            self._sums.clear()
        total = self._sums[first, end] = float(np.add.reduce(exponentials, dtype=np.float64))
        return total

    @property
    def total(self) -> float:
        """Sum of all exponentials. O(V) once."""
        return self.sum(0, self.end)

    def probabilities(self, end: int, first: int = 0) -> FloatArray:
        """(end - first,) float32; these ranks made to sum to 1; not to be written to. O(end) once."""
        found = self._normalised.get((first, end))
        if found is None:
            if len(self._normalised) >= _KEPT_ENDS:
                self._normalised.clear()
            kept = self.exponentials(end)
            if first:
                kept = kept[first:]
            total = self._sums.get((first, end)) or self._add_up(kept, first, end)
            # A Python number does not widen the array: it is divided by in float32.
            found = self._normalised[first, end] = kept / total
            found.setflags(write=False)
        return found

    def spread(self, first: int, end: int) -> tuple[float, float]:
        """(entropy in bits, 1 / sum(p²)) of ranks ``first`` to ``end``. O(end).

        With ``r`` the log ratios and ``e = exp(r)``: ``-sum p ln p = ln sum(e) - sum(e * r) / sum(e)``.
        """
        exponentials = self.exponentials(end)[first:].astype(np.float64)
        ratios = self.log_ratios(end)[first:].astype(np.float64)
        if ratios[-1] == -np.inf:
            ratios[ratios == -np.inf] = 0.0  # no part of the sum: its exponential is 0
        total = self.sum(first, end)
        nats = math.log(total) - float(exponentials @ ratios) / total
        return max(0.0, nats / math.log(2.0)), total**2 / float(exponentials @ exponentials)

    def _find_end(self) -> int:
        def below(rank: int) -> float:
            return -self._tempered(float(self._logits[rank]))

        return bisect.bisect_left(range(self._logits.size), _OVERFLOW, key=below)

    def _tempered(self, logit: float) -> float:
        """One logit after temperature, in float64."""
        if self._divisor is not None:
            return logit / self._divided_by
        below = logit - self._best
        return below / self.temperature if below else 0.0

    def _score(self, rank: int) -> np.float32:
        """One score, in the arithmetic of `log_ratios`."""
        if self._divisor is not None:
            score: np.float32 = self._logits[rank] / self._divisor
            return score
        return np.float32(self._tempered(float(self._logits[rank])))

    # -- cuts: how many ranks stay of the first ``end`` ----------------------------------------------

    def end_by_top_k(self, end: int, top_k: int) -> int:
        """O(1), or O(log V) to find the end of a tie."""
        k = min(top_k, end)
        last = self._score(k - 1)
        if k == end or self._score(k) < last:
            return k
        # Ties with the k-th stay; the comparison is on the divided scores, as in TopKLogitsWarper.
        return bisect.bisect_right(range(end), -last, key=lambda rank: -self._score(rank))

    def end_by_top_p(self, end: int, top_p: float) -> int:
        """O(end) once; then O(log end), and a block's length."""
        # TopPLogitsWarper sums from the least likely up and drops while the sum is <= 1 - p, in float32.
        limit = np.float32(1.0 - top_p)
        if end < _BLOCK:
            sums = self._sums_of_tails(end)
            total = float(sums[-1])
            # All that rounds to the limit or less: the sums themselves need not be rounded.
            most = (float(limit) + math.ldexp(1.0, math.frexp(limit)[1] - 25)) * total
            dropped = min(end - 1, int(sums.searchsorted(most, side="right")))
            if dropped:
                # What stays is known by that: it need not be added up again.
                self._sums[0, end - dropped] = total - float(sums[dropped - 1])
            return end - dropped
        # Whole blocks first: a running sum over every token costs ten times as much as sums of blocks.
        blocks = self._sums_of_blocks(end)
        gone = int(blocks.astype(np.float32).searchsorted(limit, side="right"))
        before = float(blocks[gone - 1]) if gone else 0.0
        block = self.probabilities(end)[::-1][gone * _BLOCK : (gone + 1) * _BLOCK]
        tail = (before + np.cumsum(block, dtype=np.float64)).astype(np.float32)
        return max(1, end - gone * _BLOCK - int(tail.searchsorted(limit, side="right")))

    def end_by_min_p(self, end: int, min_p: float) -> int:
        """O(end) once; then O(log end)."""
        probabilities = self.probabilities(end)
        threshold = np.float32(min_p) * probabilities[0]
        return max(1, end - int(probabilities[::-1].searchsorted(threshold, side="left")))

    def range_by_typical_p(self, end: int, mass: float) -> tuple[int, int]:
        """Ranks whose surprise is nearest the entropy, until their mass reaches ``mass``.

        Surprise grows with rank, so that the tokens nearest to any value of it are one range of ranks,
        and the range grows with the distance that it goes to. O(end) once; then O(log² end).
        """
        away, running = self._typical(end)
        middle = int(away.searchsorted(np.float32(0.0)))
        wanted = np.float32(mass)

        def span(rank: int) -> tuple[int, int]:
            distance = abs(away[rank])
            return int(away.searchsorted(-distance)), int(away.searchsorted(distance, side="right"))

        def reaches(rank: int) -> bool:
            low, high = span(rank)
            return bool(np.float32(running[high] - running[low]) >= wanted)

        # The nearest rank that reaches it stands before the middle or behind it.
        before = middle - 1 - bisect.bisect_left(range(middle), True, key=lambda i: reaches(middle - 1 - i))
        behind = middle + bisect.bisect_left(range(middle, end), True, key=reaches)
        found = ([before] if before >= 0 else []) + ([behind] if behind < end else [])
        # Rounding may leave the whole a little short of 1.
        return span(min(found, key=lambda rank: abs(away[rank]))) if found else (0, end)

    def _sums_of_tails(self, end: int) -> npt.NDArray[np.float64]:
        """(end,) sums of the last exponentials, from one of them to all."""
        tails = self._tails
        if tails is None or tails[0] != end:
            tails = self._tails = (end, self.exponentials(end)[::-1].cumsum(dtype=np.float64))
        return tails[1]

    def _sums_of_blocks(self, end: int) -> npt.NDArray[np.float64]:
        known = self._block_sums
        if known is None or known[0] != end:
            blocks = end // _BLOCK
            ascending = self.probabilities(end)[::-1][: blocks * _BLOCK]
            sums = ascending.reshape(blocks, _BLOCK).sum(axis=1, dtype=np.float64)
            known = self._block_sums = (end, np.cumsum(sums))
        return known[1]

    def _typical(self, end: int) -> tuple[FloatArray, npt.NDArray[np.float64]]:
        """How far each rank's surprise is above the entropy (end,), and the running sum (end + 1,)."""
        known = self._surprises
        if known is None or known[0] != end:
            log_probabilities = self.log_ratios(end) - np.float32(math.log(self.sum(0, end)))
            probabilities = np.exp(log_probabilities)
            finite = np.isfinite(log_probabilities)
            entropy = -(log_probabilities[finite] * probabilities[finite]).sum(dtype=np.float64)
            running = np.zeros(end + 1)
            np.cumsum(probabilities, dtype=np.float64, out=running[1:])
            known = self._surprises = (end, -log_probabilities - np.float32(entropy), running)
        return known[1:]
