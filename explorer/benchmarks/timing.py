"""Taking times of several sides in turn."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True, slots=True)
class Timed:
    """How long one side took in each round, in milliseconds, and what it gave in the last one."""

    times_ms: tuple[float, ...]
    result: Any

    @property
    def median(self) -> float:
        """The middle one."""
        return float(np.median(self.times_ms))


def in_turn(sides: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, Timed]:
    """Run every side once to warm up, then all of them in turn, forwards and backwards, ``rounds`` times."""
    results = {name: side() for name, side in sides.items()}
    times: dict[str, list[float]] = {name: [] for name in sides}
    gc.collect()
    for index in range(rounds):
        names = list(sides)
        for name in names if index % 2 == 0 else reversed(names):
            results[name] = None  # not two of them in memory
            elapsed, results[name] = clocked(sides[name])
            times[name].append(elapsed)
    return {name: Timed(tuple(times[name]), results[name]) for name in sides}


def clocked(work: Callable[[], Any]) -> tuple[float, Any]:
    """(milliseconds, result) of one call; what it started on a GPU is waited for."""
    _synchronize()
    started = time.perf_counter()
    result = work()
    _synchronize()
    return (time.perf_counter() - started) * 1e3, result


def ratio(ours: Timed, other: Timed) -> float:
    """Median over the rounds of our time by theirs: what slows a whole round slows both."""
    return float(np.median(np.array(ours.times_ms) / np.array(other.times_ms)))


def compared(timed: Mapping[str, Timed], ours: str) -> tuple[dict[str, float], dict[str, float]]:
    """(medians of the other sides, our ratios to them)."""
    others = {name: side for name, side in timed.items() if name != ours}
    return (
        {name: side.median for name, side in others.items()},
        {name: ratio(timed[ours], side) for name, side in others.items()},
    )


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
