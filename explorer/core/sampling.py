"""From raw logits to the distribution that a token is drawn from.

The chain and every definition in it are those of transformers' logits processors, in their order:
repetition penalty, no-repeat n-gram, temperature, top-k, top-p, min-p, typical-p. Logits are ranked
once; every later change of settings reuses the ranking, because each of the cuts keeps one unbroken
range of ranks.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from explorer.core.penalties import apply_penalties
from explorer.core.tempered import TemperedLogits

FloatArray = npt.NDArray[np.float32]
# A ranking, and exponentials and probabilities at temperature 1 and at another one, per vocabulary entry.
KEPT_BYTES = 24
# What ``transformers.set_seed`` takes.
LARGEST_SEED = 2**32 - 1
CutName = Literal["top_k", "top_p", "min_p", "typical_p"]


class LogitsError(ValueError):
    """Logits that no distribution can be made of; the message says why."""


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How the next token is chosen.

    Attributes
    ----------
    temperature : float
        Divides the logits; 0 means greedy (the most likely token is taken, nothing is drawn).
    top_k : int or None
        Keep the k most likely tokens, and those tied with the last of them; None or 0 is off.
    top_p : float or None
        Keep the smallest set of most likely tokens whose mass reaches p; None or 1 is off.
    min_p : float or None
        Keep tokens at least this fraction as likely as the most likely one; None or 0 is off.
    typical_p : float or None
        Locally typical sampling (Meister et al., 2022, arXiv 2202.00666); None or 1 is off.
    repetition_penalty : float or None
        Divides positive and multiplies negative logits of tokens already there (Keskar et al.,
        2019, arXiv 1909.05858). None leaves what the checkpoint sets; 1 switches it off.
    no_repeat_ngram_size : int or None
        Bans tokens that would complete an n-gram already there. None leaves what the checkpoint
        sets; 0 switches it off.
    seed : int or None
        Seed of the draws, from 0 to `LARGEST_SEED`; None draws differently each time.

    Raises
    ------
    ValueError
        A value is out of range; the message names it and its range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repetition_penalty: float | None = None
    no_repeat_ngram_size: int | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        _check(self.temperature, "temperature", 0.0, math.inf, "0 (greedy) or a finite number above it")
        for name in ("top_k", "no_repeat_ngram_size", "seed"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, numbers.Integral)):
                raise ValueError(f"{name} must be a whole number, not {value!r}.")
        _check(self.seed, "seed", 0, LARGEST_SEED, f"from 0 to {LARGEST_SEED}")
        _check(self.top_k, "top_k", 0, math.inf, "0 (off) or a whole number above it")
        _check(self.top_p, "top_p", 0.0, 1.0, "from 0 to 1")
        _check(self.min_p, "min_p", 0.0, 1.0, "from 0 to 1")
        if self.typical_p is not None and not 0.0 < self.typical_p <= 1.0:
            raise ValueError(f"typical_p must be above 0 and at most 1, not {self.typical_p!r}.")
        if self.repetition_penalty is not None and not 0.0 < self.repetition_penalty < math.inf:
            raise ValueError(f"repetition_penalty must be above 0, not {self.repetition_penalty!r}.")
        _check(self.no_repeat_ngram_size, "no_repeat_ngram_size", 0, math.inf, "0 (off) or a whole number")

    @property
    def greedy(self) -> bool:
        """True when the most likely token is taken without drawing."""
        return self.temperature == 0

    @property
    def summary(self) -> str:
        """What is in force, in one line, e.g. ``greedy`` or ``temperature 0.7 · top-k 40 · seed 1``."""
        parts = ["greedy"] if self.greedy else [f"temperature {self.temperature:g}"]
        if not self.greedy:
            parts += [f"{name.replace('_', '-')} {value:g}" for name, value in self.cuts_in_force()]
        if self.repetition_penalty is not None:
            parts.append(f"repetition penalty {self.repetition_penalty:g}")
        if self.no_repeat_ngram_size is not None:
            parts.append(f"no-repeat n-gram {self.no_repeat_ngram_size}")
        if self.seed is not None and not self.greedy:
            parts.append(f"seed {self.seed}")
        return " · ".join(parts)

    def cuts_in_force(self) -> list[tuple[CutName, float]]:
        """(name, value) of the cuts that are on, in the order in which they apply."""
        cuts: list[tuple[CutName, float]] = []
        if self.top_k:
            cuts.append(("top_k", self.top_k))
        if self.top_p is not None and self.top_p < 1.0:
            cuts.append(("top_p", self.top_p))
        if self.min_p:
            cuts.append(("min_p", self.min_p))
        if self.typical_p is not None and self.typical_p < 1.0:
            cuts.append(("typical_p", self.typical_p))
        return cuts

    def with_changes(self, **changes: Any) -> SamplingParams:
        """Return the same settings but for ``changes``, validated anew."""
        return replace(self, **changes)


def _check(value: float | None, name: str, low: float, high: float, say: str) -> None:
    if value is None:
        return
    if not (low <= value <= high) or math.isinf(value):
        raise ValueError(f"{name} must be {say}, not {value!r}.")


GREEDY = SamplingParams(temperature=0.0)


class Cut(NamedTuple):
    """What one cut of the chain left over.

    Attributes
    ----------
    name : str
        Which one.
    value : float
        Its setting.
    first_rank, end_rank : int
        The ranks that stay after it: ``first_rank <= rank < end_rank``.
    """

    name: CutName
    value: float
    first_rank: int
    end_rank: int


@dataclass(frozen=True, eq=False, init=False)
class Distribution:
    """A next-token distribution over the whole vocabulary, after reshaping.

    Attributes
    ----------
    ranked : RankedLogits
        The logits that it was made of, after any penalties.
    params : SamplingParams
        The settings that shaped it.
    first_rank, end_rank : int
        The ranks that stay are ``first_rank <= rank < end_rank``; every other token is cut.
    cuts : tuple of Cut
        The cuts that are on, in the order in which they were applied; none when greedy.

    Notes
    -----
    What is read off it is worked out when it is first asked for, from any thread.
    """

    ranked: RankedLogits
    params: SamplingParams
    first_rank: int
    end_rank: int
    cuts: tuple[Cut, ...]
    _tempered: TemperedLogits = field(repr=False)

    def __init__(
        self,
        ranked: RankedLogits,
        params: SamplingParams,
        first_rank: int,
        end_rank: int,
        cuts: tuple[Cut, ...],
        tempered: TemperedLogits,
    ) -> None:
        # At once: field by field, as a frozen class does it by itself, takes a tenth of a slider's move.
        self.__dict__.update(
            ranked=ranked,
            params=params,
            first_rank=first_rank,
            end_rank=end_rank,
            cuts=cuts,
            _tempered=tempered,
        )

    @property
    def kept_count(self) -> int:
        """How many tokens can still be chosen."""
        return self.end_rank - self.first_rank

    @property
    def rank_probabilities(self) -> FloatArray:
        """(kept_count,) float32; probabilities of the ranks that stay, summing to 1. O(end_rank) once."""
        return self._tempered.probabilities(self.end_rank, self.first_rank)

    @cached_property
    def mass_cut(self) -> float:
        """Probability, after temperature and before any cut, of the tokens that were cut. O(V)."""
        return max(0.0, 1.0 - self._kept_sum / self._tempered.total)

    @cached_property
    def probabilities(self) -> FloatArray:
        """(V,) float32 by token ID; 0 for cut tokens. O(V), made on first use."""
        full = np.zeros(self.ranked.vocabulary_size, dtype=np.float32)
        full[self.kept_ids] = self.rank_probabilities
        return full

    @cached_property
    def kept(self) -> npt.NDArray[np.bool_]:
        """(V,) bool by token ID: False for cut tokens. O(V), made on first use."""
        mask = np.zeros(self.ranked.vocabulary_size, dtype=np.bool_)
        mask[self.kept_ids] = True
        return mask

    @property
    def kept_ids(self) -> npt.NDArray[np.int32]:
        """Token IDs that stay, most likely first."""
        return self.ranked.order[self.first_rank : self.end_rank]

    @cached_property
    def _spread(self) -> tuple[float, float]:
        return self._tempered.spread(self.first_rank, self.end_rank)

    @property
    def entropy_bits(self) -> float:
        """Shannon entropy in bits; 0 when one token is certain. O(kept_count)."""
        return self._spread[0]

    @property
    def perplexity(self) -> float:
        """Two to the power of the entropy: as uncertain as a fair choice among so many tokens."""
        return float(2.0**self.entropy_bits)

    @property
    def effective_choices(self) -> float:
        """Inverse Simpson index, 1 / sum(p²): how many equally likely tokens would collide as often."""
        return self._spread[1]

    def probability(self, token_id: int) -> float:
        """Probability of one token; 0 where it is cut. O(log V)."""
        return self.probability_at(self.ranked.rank(token_id))

    def probability_at(self, rank: int) -> float:
        """Probability of the token at ``rank``; 0 where it is cut."""
        if self.first_rank <= rank < self.end_rank:
            return float(self._tempered.exponential(rank) / self._kept_sum)
        return 0.0

    @property
    def _kept_sum(self) -> float:
        return self._tempered.sum(self.first_rank, self.end_rank)

    def keeps_rank(self, rank: int) -> bool:
        """Whether the token at ``rank`` can still be chosen."""
        return self.first_rank <= rank < self.end_rank

    def top(self, count: int) -> list[tuple[int, float]]:
        """(token ID, probability) of the ``count`` highest-ranked tokens, cut ones included at 0."""
        count = min(count, self.ranked.vocabulary_size)
        return [(int(self.ranked.order[rank]), self.probability_at(rank)) for rank in range(count)]

    def draw(self, count: int, seed: int | None = None) -> npt.NDArray[np.int64]:
        """Draw ``count`` tokens with replacement: (V,) int64 counts by token ID.

        One multinomial draw, O(V) whatever the count. The generator is numpy's, so these draws
        illustrate the distribution; a run's own draws are torch's.
        """
        p = self.rank_probabilities.astype(np.float64)
        counts = np.zeros(self.ranked.vocabulary_size, dtype=np.int64)
        counts[self.kept_ids] = np.random.default_rng(seed).multinomial(count, p / p.sum())
        return counts


class RankedLogits:
    """One vector of raw logits, sorted once, to be reshaped many times.

    Equal logits rank by token ID, the higher first: so does top-p of transformers where torch sorts
    stably, as it does short vectors. Its sort of long ones may leave any member of a tie in front, so
    that there only the number of tied tokens that stay is defined.

    Parameters
    ----------
    logits : array_like or torch.Tensor
        (V,) raw logits, of any dtype and on any device; computed on as float32.
    previous_ids : sequence of int
        Tokens already there, which repetition penalty and no-repeat n-gram look at.
    copy : bool
        False keeps a float32 array as it is, which nobody may write to from then on.

    Raises
    ------
    LogitsError
        The vector is empty or not one-dimensional, holds NaN or +inf, or all of it is -inf.
    ValueError
        ``previous_ids`` is not one sequence of token IDs below V.

    Notes
    -----
    Cost: one O(V log V) sort. `KEPT_BYTES` per vocabulary entry are kept at most: 8 for the ranking, and
    4 for the logits where they are copied; the rest for what is asked of it.
    """

    def __init__(
        self,
        logits: npt.ArrayLike,
        previous_ids: Sequence[int] | npt.NDArray[np.integer] = (),
        *,
        copy: bool = True,
    ) -> None:
        values = _own_float32(logits, copy)
        if values.ndim != 1 or values.size == 0:
            raise LogitsError(f"Logits must be one vector with an entry per token, not shape {values.shape}.")
        if np.isnan(values).any():
            raise LogitsError("The logits hold NaN: the model's numbers overflowed; a wider dtype may help.")
        top = values.max()
        if top == np.inf:
            raise LogitsError("The logits hold +inf: the model's numbers overflowed; a wider dtype may help.")
        if top == -np.inf:
            raise LogitsError("Every token is suppressed (all logits are -inf): nothing can be chosen.")
        if copy:
            values.setflags(write=False)
        self.logits: FloatArray = values
        self.previous_ids = np.asarray(previous_ids, dtype=np.int64)
        if (
            self.previous_ids.ndim != 1
            or not ((self.previous_ids >= 0) & (self.previous_ids < values.size)).all()
        ):
            raise ValueError(f"previous_ids must be one sequence of token IDs from 0 to {values.size - 1}.")
        self.order: npt.NDArray[np.int32] = _descending_order(values)
        self.sorted_logits: FloatArray = values[self.order]
        self._best, self._lowest = float(self.sorted_logits[0]), float(self.sorted_logits[-1])
        self._tempered: TemperedLogits | None = None
        self._penalised: tuple[tuple[float | None, int | None], RankedLogits] | None = None

    @property
    def vocabulary_size(self) -> int:
        """Count of tokens, V."""
        return self.logits.size

    def rank(self, token_id: int) -> int:
        """Rank of one token, 0 for the most likely. O(log V)."""
        logit, ascending = self.logits[token_id], self.sorted_logits[::-1]
        first = ascending.size - int(ascending.searchsorted(logit, side="right"))
        end = ascending.size - int(ascending.searchsorted(logit, side="left"))
        if end - first == 1:
            return first
        # Among equals, IDs fall.
        return end - 1 - int(self.order[first:end][::-1].searchsorted(token_id))

    @cached_property
    def unshaped(self) -> Distribution:
        """The model's own distribution: temperature 1, nothing cut."""
        return self.temper_and_cut(SamplingParams())

    def distribution(self, params: SamplingParams) -> Distribution:
        """Reshape by ``params``; no sort unless a penalty changed.

        O(V) when the temperature changed or top-p looks past top-k, O(kept) otherwise; from any thread.
        """
        return self._after_penalties(params).temper_and_cut(params)

    def _after_penalties(self, params: SamplingParams) -> RankedLogits:
        key = (params.repetition_penalty, params.no_repeat_ngram_size)
        if key[0] in (None, 1.0) and key[1] in (None, 0):
            return self
        known = self._penalised
        if known is None or known[0] != key:
            logits = apply_penalties(self.logits, self.previous_ids, *key)
            known = self._penalised = (key, RankedLogits(logits, self.previous_ids))
        return known[1]

    def _at_temperature(self, temperature: float) -> TemperedLogits:
        """The scores at one temperature; the last one asked for is kept."""
        tempered = self._tempered
        if tempered is None or tempered.temperature != temperature:
            tempered = TemperedLogits(self.sorted_logits, temperature, self._best, self._lowest)
            self._tempered = tempered
        return tempered

    def temper_and_cut(self, params: SamplingParams) -> Distribution:
        """Apply temperature, top-k, top-p, min-p and typical-p, but no penalty."""
        if params.greedy:
            return self._greedy(params)
        tempered = self._at_temperature(params.temperature)
        first, end = 0, tempered.end
        cuts = []
        for name, value in params.cuts_in_force():
            if name == "top_k":
                end = tempered.end_by_top_k(end, int(value))
            elif name == "top_p":
                end = tempered.end_by_top_p(end, value)
            elif name == "min_p":
                end = tempered.end_by_min_p(end, value)
            else:
                first, end = tempered.range_by_typical_p(end, value)
            cuts.append(Cut(name, value, first, end))
        return Distribution(self, params, first, end, tuple(cuts), tempered)

    def _greedy(self, params: SamplingParams) -> Distribution:
        # argmax takes the first of equals, as transformers does; the ranking puts the last one first.
        tempered = self._at_temperature(1.0)
        rank = tempered.end_by_top_k(tempered.end, 1) - 1
        return Distribution(self, params, rank, rank + 1, (), tempered)


def _descending_order(values: FloatArray) -> npt.NDArray[np.int32]:
    """Indices (V,) of ``values`` from the largest down, of equal ones the higher index first.

    A value's bits, made to sort like the value, above its index in one integer: integers are sorted
    several times as fast as a stable argsort of floats. Both are inverted, so that the largest comes first.
    """
    bits = (values + np.float32(0.0)).view(np.int32)  # -0.0 becomes 0.0, its equal
    flip = bits >> 31  # all ones for negative values
    flip |= np.int32(-(1 << 31))
    bits ^= flip
    keys = np.invert(bits.view(np.uint32)).astype(np.uint64)
    keys <<= np.uint64(32)
    keys |= np.arange(values.size - 1, -1, -1, dtype=np.uint32)
    keys.sort()
    order = keys.astype(np.uint32).view(np.int32)  # the low halves
    np.subtract(values.size - 1, order, out=order)
    return order


def _own_float32(logits: Any, copy: bool) -> FloatArray:
    """Return ``logits`` as float32: a copy, or with ``copy`` False the array itself where it is float32."""
    if hasattr(logits, "detach"):
        # A torch tensor: numpy has no bfloat16, and cannot take a tensor that has a gradient or lives
        # on a device. It is asked by its own methods, because core knows no torch.
        logits = logits.detach().float().cpu().numpy()
    with np.errstate(over="ignore"):
        return np.array(logits, dtype=np.float32, copy=copy or None)


def reshape(
    logits: npt.ArrayLike, params: SamplingParams, previous_ids: Sequence[int] | npt.NDArray[np.integer] = ()
) -> Distribution:
    """Reshape raw logits (V,) by ``params``; see `RankedLogits` for many settings on the same logits."""
    return RankedLogits(logits, previous_ids).distribution(params)
