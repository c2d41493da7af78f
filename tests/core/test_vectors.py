from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.core.vectors import TokenPath


@given(stages=st.integers(1, 6), tokens=st.integers(1, 5), share=st.floats(0.0, 1.0), seed=st.integers(0, 99))
def test_that_a_way_leads_through_each_stage_to_the_place_between_two(
    stages: int, tokens: int, share: float, seed: int
) -> None:
    stage = share * (stages - 1)
    coordinates = np.random.default_rng(seed).normal(size=(stages, tokens, 4)).astype(np.float32)
    names = tuple(str(i) for i in range(stages))
    path = TokenPath((), names, coordinates, np.empty((stages, 0, 0)), 1.0, (), 1)
    ways = path.ways(stage)
    assert ways.shape == (tokens, math.ceil(stage) + 1, 4)
    for token, way in enumerate(ways):
        assert np.array_equal(way[:-1], coordinates[: math.ceil(stage), token])
        for component, here in enumerate(way[-1]):
            between = np.interp(stage, np.arange(stages), coordinates[:, token, component].astype(np.float64))
            assert here == pytest.approx(between, abs=1e-12)
