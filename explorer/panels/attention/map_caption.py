"""The line under a map: what rows and columns are, and all that stands between the model's map and it."""

from __future__ import annotations

from explorer.core.records import RunSnapshot
from explorer.panels.attention.attention_controls import DisplayOptions
from explorer.panels.attention.map_builder import ROLLOUT_SOURCE, DrawnMap, rows_are_written

# Below this, a linear scale that ends at 1 leaves all cells nearly white.
_FAINT = 0.1


def axes_of(drawn: DrawnMap, run: RunSnapshot, *, lines: bool) -> str:
    """What rows and columns are; ``lines`` where the tokens stand left and right, as in the line view."""
    places = ("left", "right") if lines else ("rows", "columns")
    writes = rows_are_written(drawn.head, run)
    words = ("token being written", "token read") if writes else ("token that looks", "token looked at")
    return " · ".join(f"{place}: {word}" for place, word in zip(places, words, strict=True))


def caption_of(drawn: DrawnMap, run: RunSnapshot, options: DisplayOptions, *, lines: bool) -> str:
    """What was done to the model's map before it was drawn, in reading order."""
    said: list[str] = []
    if drawn.attention.summary == "rollout":
        said.append(ROLLOUT_SOURCE)
    if options.words:
        said.append("subwords merged into words: sum over keys, mean over queries")
    if options.hide_special or options.hide_first:
        first = "first word" if options.words else "first token"
        names = ["special tokens"] * options.hide_special + [first] * options.hide_first
        said.append(
            f"{' and '.join(names)} hidden: {drawn.mean_hidden_mass:.1%} of the weight (mean of rows)"
        )
        if options.renormalise:
            said.append("rows scaled to 1")
    if options.sums and not lines:
        said.append("grey: sums")
    largest = float(drawn.content.weights.max()) if drawn.content.weights.size else 1.0
    if largest < _FAINT and not options.per_map and options.transform == "linear":
        said.append(f"largest weight {largest:.2g}: a scale of its own (Display) shows the pattern")
    return " · ".join(said)
