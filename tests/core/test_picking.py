from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from explorer.core.picking import TIE_PIXELS, nearest


@given(st.integers(0, 10_000), st.floats(0, 100), st.floats(0, 100), st.floats(1, 30))
def test_that_the_picked_point_is_nearest_as_found_by_trying_all(
    seed: int, x: float, y: float, radius: float
) -> None:
    points = np.random.default_rng(seed).uniform(0, 100, (3, 60)).astype(np.float32)
    distances = np.hypot(points[0] - x, points[1] - y)
    picked = nearest(points, x, y, radius)
    if picked is None:
        assert distances.min() > radius - 1e-3
    else:
        assert distances[picked] <= min(radius, distances.min() + TIE_PIXELS) + 1e-3


def test_that_of_equally_near_points_the_one_in_front_is_picked() -> None:
    points = np.array([[10, 10.5, 11], [10, 10, 10], [5, 2, 9]], dtype=np.float32)
    assert nearest(points, 10, 10, 8) == 1


def test_that_points_behind_the_eye_are_never_picked() -> None:
    points = np.array([[np.nan, 14], [np.nan, 10], [1, 5]], dtype=np.float32)
    assert nearest(points, 10, 10, 8) == 1
    assert nearest(points[:, :1], 10, 10, 8) is None


def test_that_nothing_is_picked_from_nothing() -> None:
    assert nearest(np.empty((3, 0), dtype=np.float32), 1, 1, 5) is None
