"""The same maps as a page of HTML, by bertviz: what writing it takes, and how large it is.

bertviz is no dependency: where it cannot be imported, the comparison is left out and says so. Only the
writing is measured. The browser that has to read the page takes its own time, which comes on top.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from explorer.benchmarks.figures import Agreement, Figure, Skip
from explorer.benchmarks.timing import Timed, clocked, in_turn

VIEWS = ("head_view", "model_view")
NAME = "all maps as HTML"
# Above this, a side is run once: the page takes gigabytes on the way.
_ONCE_ABOVE = 128
_DATA = re.compile(r'"attn": (\[.*?\]), "left_text"', re.DOTALL)


def missing() -> str:
    """Why bertviz cannot be compared with; empty where it can."""
    try:
        importlib.import_module("bertviz")
    except ImportError as error:
        return f"not installed ({error}); pip install bertviz ipython, then measure again"
    return ""


def compare(
    name: str,
    device: str,
    ours: Callable[[], Any],
    our_bytes: int,
    weights: npt.NDArray[np.float32],
    rounds: int,
) -> Iterator[Figure | Skip]:
    """Time and bytes of both views of bertviz beside ours.

    Parameters
    ----------
    name, device : str
        What is shown, and where it was computed.
    ours : callable
        Reads every head and paints the overview.
    our_bytes : int
        What it hands to the window.
    weights : numpy.ndarray
        (layer, head, query, key) float32: the whole maps, which bertviz is given ready-made.
    rounds : int
        How many times each side is run, where that is bearable.
    """
    reason = missing()
    if reason:
        yield Skip("attention", f"{NAME}: bertviz", reason)
        return
    maps = [torch.from_numpy(layer[None]) for layer in weights]
    tokens = [f"w{i}" for i in range(weights.shape[3])]
    sides: dict[str, Callable[[], Any]] = {view: _side(view, maps, tokens) for view in VIEWS}
    if weights.shape[3] > _ONCE_ABOVE:
        # Strings of hundreds of megabytes: one at a time, and none kept.
        timed = in_turn({"explorer": ours}, rounds)
        pages: dict[str, tuple[int, float]] = {}
        for view, side in sides.items():
            elapsed, page = clocked(side)
            timed[view] = Timed((elapsed,), None)
            pages[view] = len(page.encode()), np.nan
            del page
    else:
        timed = in_turn({"explorer": ours, **sides}, rounds)
        pages = {v: (len(timed[v].result.encode()), _difference(timed[v].result, weights)) for v in VIEWS}
    value = timed["explorer"].median
    others = {f"bertviz {view}, the page alone": timed[view].median for view in VIEWS}
    yield Figure(
        "attention",
        f"{name}, from read to painted",
        device,
        value,
        others=others,
        ratios={side: value / other for side, other in others.items()},
        agreements=tuple(
            Agreement(f"weights in {view}'s page with ours (largest difference)", difference, 0.0)
            for view, (_, difference) in pages.items()
            if not np.isnan(difference)
        ),
    )
    sizes = {f"bertviz {view}": float(size) for view, (size, _) in pages.items()}
    yield Figure(
        "attention",
        f"{name}, handed to what shows it",
        device,
        float(our_bytes),
        "bytes",
        others=sizes,
        ratios={side: our_bytes / size for side, size in sizes.items()},
    )


def _side(view: str, maps: list[torch.Tensor], tokens: list[str]) -> Callable[[], str]:
    make = getattr(importlib.import_module("bertviz"), view)
    return lambda: str(make(maps, tokens, html_action="return").data)


def _difference(page: str, weights: npt.NDArray[np.float32]) -> float:
    """Largest difference between the maps that a page holds and ours."""
    found = _DATA.search(page)
    if found is None:
        return float("inf")
    held = np.array(json.loads(found[1]), dtype=np.float32).reshape(weights.shape)
    return float(np.abs(held - weights).max())
