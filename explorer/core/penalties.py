"""What the tokens that are already there do to logits: repetition penalty and no-repeat n-gram."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


def apply_penalties(
    logits: FloatArray,
    previous_ids: npt.NDArray[np.int64],
    repetition_penalty: float | None,
    no_repeat_ngram_size: int | None,
) -> FloatArray:
    """Return a copy of ``logits`` after repetition penalty and no-repeat n-gram.

    ``RepetitionPenaltyLogitsProcessor`` and ``NoRepeatNGramLogitsProcessor`` of transformers, in that
    order. O(V + length of ``previous_ids``).
    """
    result = logits.copy()
    if repetition_penalty not in (None, 1.0) and previous_ids.size:
        seen = np.unique(previous_ids)
        scores = result[seen]
        penalty = np.float32(repetition_penalty)
        with np.errstate(over="ignore"):
            result[seen] = np.where(scores < 0, scores * penalty, scores / penalty)
    result[banned_by_ngrams(previous_ids, no_repeat_ngram_size)] = -np.inf
    return result


def banned_by_ngrams(
    previous_ids: npt.NDArray[np.int64], no_repeat_ngram_size: int | None
) -> npt.NDArray[np.int64]:
    """Token IDs that would complete an n-gram already there. O(length of ``previous_ids``)."""
    size = no_repeat_ngram_size or 0
    if not size or previous_ids.size + 1 < size:
        return np.empty(0, dtype=np.int64)
    ids = previous_ids.tolist()
    prefix = ids[len(ids) - (size - 1) :] if size > 1 else []
    banned = [ids[i + size - 1] for i in range(len(ids) - size + 1) if ids[i : i + size - 1] == prefix]
    return np.array(banned, dtype=np.int64)
