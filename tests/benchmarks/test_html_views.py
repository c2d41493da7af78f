"""The comparison with bertviz: what is taken from its pages, and what is said where it is not there."""

from __future__ import annotations

import json
import sys
import types

import numpy as np
import pytest

from explorer.benchmarks import html_views
from explorer.benchmarks.figures import Figure, Skip

WEIGHTS = np.random.default_rng(1).random((2, 3, 5, 5), dtype=np.float32)


def compare() -> list[Figure | Skip]:
    found = html_views.compare("maps", "cpu", lambda: None, WEIGHTS.nbytes, WEIGHTS, rounds=1)
    return list(found)


def test_that_without_bertviz_the_comparison_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bertviz", None)
    (skip,) = compare()
    assert isinstance(skip, Skip)
    assert "not installed" in skip.reason
    assert "pip install bertviz" in skip.reason


@pytest.mark.parametrize("error", [0.0, 1e-3])
def test_that_the_maps_in_a_page_are_held_to_ours(monkeypatch: pytest.MonkeyPatch, error: float) -> None:
    """A page as bertviz 1.4.1 writes it: the maps of all layers, as JSON, before the tokens."""

    def view(attention, tokens, html_action):
        maps = [(layer[0].numpy().astype(np.float64) + error).tolist() for layer in attention]
        params = {"attention": [{"name": None, "attn": maps, "left_text": tokens, "right_text": tokens}]}
        assert html_action == "return"
        return types.SimpleNamespace(data=f"<script>const params = {json.dumps(params)};</script>")

    stand_in = types.SimpleNamespace(head_view=view, model_view=view)
    monkeypatch.setitem(sys.modules, "bertviz", stand_in)
    times, sizes = compare()
    assert isinstance(times, Figure)
    assert isinstance(sizes, Figure)
    assert [agreement.equal for agreement in times.agreements] == [error == 0.0] * 2
    assert sizes.unit == "bytes"
    assert set(sizes.others) == {"bertviz head_view", "bertviz model_view"}
    for other, ratio in sizes.ratios.items():
        assert ratio == pytest.approx(WEIGHTS.nbytes / sizes.others[other])
