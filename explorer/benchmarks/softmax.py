"""Reshaping a next-token distribution, beside transformers' own processors."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from explorer.benchmarks import values
from explorer.benchmarks.figures import Agreement, Figure, Plan, Target
from explorer.benchmarks.timing import Timed, clocked, compared, in_turn
from explorer.core.sampling import Distribution, RankedLogits, SamplingParams

VOCABULARIES = (32_000, 128_256, 262_144)
WARPERS = "transformers' warpers and softmax"
MOVES = 12
# At least twenty times faster.
MOST = 1 / 20


def measure(plan: Plan) -> Iterator[Figure]:
    """Rank once, then move each slider, at every size of vocabulary."""
    for vocabulary in VOCABULARIES[:2] if plan.quick else VOCABULARIES:
        logits = values.logits(vocabulary)
        tensor = torch.from_numpy(logits)[None]
        timed = in_turn(
            {
                "explorer": partial(RankedLogits, logits),
                WARPERS: partial(_warped, tensor, SamplingParams(0.8, 50, 0.9)),
            },
            plan.rounds,
        )
        others, ratios = compared(timed, "explorer")
        yield Figure(
            "softmax",
            f"ranking once, {vocabulary:,} tokens",
            "cpu",
            timed["explorer"].median,
            others=others,
            ratios=ratios,
        )
        ranked: RankedLogits = timed["explorer"].result
        for name, settings in _moves().items():
            yield _move(plan, ranked, tensor, name, settings)


def _moves() -> dict[str, list[SamplingParams]]:
    """What a slider goes through, with the others where they are."""
    share = np.linspace(0.0, 1.0, MOVES)
    return {
        "temperature, with top-k 50 and top-p 0.9": [SamplingParams(0.7 + x, 50, 0.9) for x in share],
        "top-k, with temperature 0.8 and top-p 0.9": [
            SamplingParams(0.8, 20 + int(80 * x), 0.9) for x in share
        ],
        "top-p, with temperature 0.8 and top-k 50": [SamplingParams(0.8, 50, 0.6 + 0.35 * x) for x in share],
        "temperature, with top-k 50 alone": [SamplingParams(0.7 + x, 50) for x in share],
        "temperature, with top-p 0.9 alone": [SamplingParams(0.7 + x, None, 0.9) for x in share],
        "top-p, with temperature 0.8 alone": [SamplingParams(0.8, None, 0.6 + 0.35 * x) for x in share],
        "temperature, nothing cut": [SamplingParams(0.7 + x) for x in share],
    }


def _move(
    plan: Plan, ranked: RankedLogits, tensor: torch.Tensor, name: str, settings: list[SamplingParams]
) -> Figure:
    """Every position of one slider, on both sides in turn."""
    times: dict[str, list[float]] = {"explorer": [], WARPERS: []}
    # Fewer warpers than three have no target: a softmax over everything is itself O(V) on either side.
    target = Target(MOST, WARPERS) if settings[0].top_p is not None else None

    def reshaped(params: SamplingParams) -> Distribution:
        """Reshape, and read every probability that is not 0: more than the window asks for."""
        found = ranked.distribution(params)
        _ = found.rank_probabilities
        return found

    reshaped(settings[-1])
    for params in itertools.islice(itertools.cycle(settings), plan.rounds * MOVES):
        elapsed, _ = clocked(partial(reshaped, params))
        times["explorer"].append(elapsed)
        elapsed, _ = clocked(partial(_warped, tensor, params))
        times[WARPERS].append(elapsed)
    # Not in between: it would leave neither side anything in the processor's caches.
    apart = max(_apart(reshaped(params), tensor, params) for params in settings)
    timed = {side: Timed(tuple(taken), None) for side, taken in times.items()}
    others, ratios = compared(timed, "explorer")
    return Figure(
        "softmax",
        f"moving {name}, {ranked.vocabulary_size:,} tokens",
        "cpu",
        timed["explorer"].median,
        others=others,
        ratios=ratios,
        target=target,
        agreements=(
            Agreement("probabilities with float64 softmax of their scores (largest difference)", apart, 1e-6),
        ),
    )


def _warped(logits: torch.Tensor, params: SamplingParams) -> torch.Tensor:
    """(1, V) logits to (1, V) probabilities."""
    return torch.softmax(_scores(logits, params), dim=-1)


def _scores(logits: torch.Tensor, params: SamplingParams) -> torch.Tensor:
    chain = LogitsProcessorList([TemperatureLogitsWarper(params.temperature)])
    if params.top_k is not None:
        chain.append(TopKLogitsWarper(params.top_k))
    if params.top_p is not None:
        chain.append(TopPLogitsWarper(params.top_p))
    nothing_before: Any = torch.empty(1, 0, dtype=torch.long)
    scores: torch.Tensor = chain(nothing_before, logits)
    return scores


def _apart(found: Distribution, logits: torch.Tensor, params: SamplingParams) -> float:
    # In float32, torch's own softmax of a quarter of a million numbers is off by up to 1e-5.
    expected = torch.softmax(_scores(logits, params), dim=-1, dtype=torch.float64)
    return float(np.abs(found.probabilities - expected[0].numpy()).max())
