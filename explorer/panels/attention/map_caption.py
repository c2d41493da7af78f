"""The line under a map: what rows and columns are, and all that stands between the model's map and it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from explorer.core.records import RunSnapshot
from explorer.panels.attention.attention_controls import DisplayOptions
from explorer.panels.attention.compared_maps import ComparedMap
from explorer.panels.attention.map_builder import ROLLOUT_SOURCE, DrawnMap, rows_are_written

# Below this, a linear scale that ends at 1 leaves all cells nearly white.
_FAINT = 0.1


def axes_of(drawn: DrawnMap, run: RunSnapshot, *, lines: bool) -> str:
    """What rows and columns are; ``lines`` where the tokens stand left and right, as in the line view."""
    places = ("left", "right") if lines else ("rows", "columns")
    writes = rows_are_written(drawn.head, run)
    words = ("token being written", "token read") if writes else ("token that looks", "token looked at")
    return " · ".join(f"{place}: {word}" for place, word in zip(places, words, strict=True))


def caption_of(
    drawn: DrawnMap, options: DisplayOptions, *, lines: bool, compared: Sequence[ComparedMap] = ()
) -> str:
    """What was done to the model's maps before they were drawn, in reading order.

    ``compared`` are the heads side by side, where they are what is drawn.
    """
    said: list[str] = []
    if drawn.attention.summary == "rollout":
        said.append(ROLLOUT_SOURCE)
    if options.words:
        said.append("subwords merged into words: sum over keys, mean over queries")
    if options.hide_special or options.hide_first:
        first = "first word" if options.words else "first token"
        names = ["special tokens"] * options.hide_special + [first] * options.hide_first
        shares = [f"{_place(one)} {_mean(one.content.hidden_mass):.1%}" for one in compared]
        share = ", ".join(shares) or f"{drawn.mean_hidden_mass:.1%}"
        said.append(f"{' and '.join(names)} hidden: {share} of the weight (mean of rows)")
        if options.renormalise:
            said.append("rows scaled to 1")
    if options.sums and not lines:
        said.append("grey: sums")
    shown = [one.content.weights for one in compared] or [drawn.content.weights]
    largest = max((float(weights.max()) for weights in shown if weights.size), default=1.0)
    if largest < _FAINT and not options.per_map and options.transform == "linear":
        said.append(f"largest weight {largest:.2g}: see Display, strongest colour")
    return " · ".join(said)


def _place(shown: ComparedMap) -> str:
    return f"{shown.place[0]}·{shown.place[1]}"


def _mean(values: npt.NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else 0.0
