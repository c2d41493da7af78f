from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from explorer.core import geometry
from explorer.core.geometry import Camera

finite = st.floats(-1e3, 1e3, width=32)
vectors = hnp.arrays(np.float32, 6, elements=finite)


@given(vectors, vectors)
def test_that_cosine_and_angle_equal_the_plain_formula(a: np.ndarray, b: np.ndarray) -> None:
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(a64) * np.linalg.norm(b64)
    if lengths == 0.0:
        assert math.isnan(geometry.cosine(a, b))
        assert math.isnan(geometry.angle_degrees(a, b))
    elif lengths > 1e-100:
        expected = np.clip(a64 @ b64 / lengths, -1.0, 1.0)
        assert geometry.cosine(a, b) == pytest.approx(expected, abs=1e-7)
        assert math.cos(math.radians(geometry.angle_degrees(a, b))) == pytest.approx(expected, abs=1e-7)


def test_that_tiny_and_huge_vectors_keep_their_angle() -> None:
    for scale in (1e-300, 1e-30, 1.0, 1e200):
        first, second = np.array([scale, 0.0]), np.array([scale, scale])
        assert geometry.angle_degrees(first, second) == pytest.approx(45.0, abs=1e-9)
        assert geometry.cosine(first, second) == pytest.approx(math.sqrt(0.5), abs=1e-9)


def test_that_nearly_equal_vectors_keep_a_small_angle() -> None:
    turned = np.array([math.cos(1e-9), math.sin(1e-9)])
    assert geometry.angle_degrees([1.0, 0.0], turned) == pytest.approx(math.degrees(1e-9), rel=1e-6)


def test_that_equal_and_opposite_vectors_have_exact_angles() -> None:
    assert geometry.angle_degrees([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]) == 0.0
    assert geometry.angle_degrees([1.0, 2.0, 3.0], [-1.0, -2.0, -3.0]) == 180.0


def test_that_the_angle_on_screen_is_that_of_the_picture() -> None:
    assert geometry.on_screen_angle((10, 10), (20, 10), (10, 30)) == pytest.approx(90.0)
    assert math.isnan(geometry.on_screen_angle((10, 10), (10, 10), (10, 30)))
    assert math.isnan(geometry.on_screen_angle((np.nan, 10), (20, 10), (10, 30)))


def test_that_the_arc_runs_from_one_vector_to_the_other_at_one_distance() -> None:
    origin, first, second = np.array([1.0, 2.0, 3.0]), np.array([4.0, 2.0, 3.0]), np.array([1.0, 2.0, 8.0])
    points = geometry.arc(origin, first, second)
    assert np.allclose(np.linalg.norm(points - origin, axis=1), 0.4 * 3.0)
    assert np.allclose(points[0], origin + np.array([1.2, 0, 0]))
    assert np.allclose(points[-1], origin + np.array([0, 0, 1.2]))


@pytest.mark.parametrize("second", [(0, 0, 0), (1, 0, 0), (-2, 0, 0)])
def test_that_there_is_no_arc_where_it_is_not_defined(second: tuple[int, ...]) -> None:
    assert geometry.arc((0, 0, 0), (1, 0, 0), second).shape == (0, 3)


cameras = st.builds(
    Camera,
    st.tuples(*[st.floats(-2, 2)] * 3),
    st.floats(0.5, 20),
    st.floats(-180, 180),
    st.floats(-89, 89),
)


@given(cameras, hnp.arrays(np.float32, (3, 5), elements=st.floats(-1, 1, width=32)))
def test_that_the_projection_is_the_one_of_the_opengl_matrices(camera: Camera, points: np.ndarray) -> None:
    width, height = 640.0, 400.0
    matrix = camera.projection_matrix(width, height) @ camera.view_matrix()
    clip = matrix @ np.vstack([points, np.ones(points.shape[1])])
    seen = camera.project(points, width, height)
    for column in range(points.shape[1]):
        if clip[3, column] < 0.03 * camera.distance:
            continue
        x, y = clip[:2, column] / clip[3, column]
        assert seen[2, column] == pytest.approx(clip[3, column], rel=1e-3, abs=1e-4)
        scale = max(1.0, abs(x), abs(y))
        assert seen[0, column] == pytest.approx((x + 1) / 2 * width, abs=0.5 * scale)
        assert seen[1, column] == pytest.approx((1 - y) / 2 * height, abs=0.5 * scale)


def test_that_the_centre_is_in_the_middle_and_the_second_axis_points_up() -> None:
    camera = Camera(center=(1.0, 2.0, 3.0), distance=5.0)
    x, y, depth = camera.project(np.array([[1, 1], [2, 2.5], [3, 3]]), 200, 100)
    assert (x[0], y[0], depth[0]) == pytest.approx((100, 50, 5), abs=1e-3)
    assert x[1] == pytest.approx(100, abs=1e-3)
    assert y[1] < y[0]


def test_that_what_lies_behind_the_eye_has_no_place() -> None:
    camera = Camera(distance=1.0, azimuth=0.0, elevation=0.0)
    assert np.isnan(camera.project(np.array([[0.0], [0.0], [2.0]]), 100, 100)[:2]).all()


def test_that_panning_moves_the_centre_with_the_pointer() -> None:
    camera = Camera()
    moved = camera.panned(30, -20, 400, 300)
    x, y, _ = moved.project(np.zeros((3, 1)), 400, 300)
    assert (x[0], y[0]) == pytest.approx((230, 130), abs=0.5)


def test_that_orbiting_stops_short_of_the_pole_and_goes_round_the_other_way() -> None:
    assert Camera().orbited(0, 500).elevation == geometry.MAX_ELEVATION_DEGREES
    assert Camera(azimuth=170).orbited(20, 0).azimuth == pytest.approx(-170)


def test_that_a_flight_takes_the_short_way_and_arrives() -> None:
    start, end = Camera(azimuth=170, distance=1.0), Camera(azimuth=-170, distance=4.0)
    middle = start.towards(end, 0.5)
    assert middle.azimuth % 360 == pytest.approx(180)
    assert middle.distance == pytest.approx(2.0)
    assert start.towards(end, 1.0).distance == pytest.approx(4.0)


def test_that_the_framing_distance_shows_the_whole_ball() -> None:
    camera = Camera(distance=geometry.framing_distance(2.0))
    directions = np.random.default_rng(0).normal(size=(3, 500))
    ball = 2.0 * directions / np.linalg.norm(directions, axis=0)
    x, y, _ = camera.project(ball, 300, 300)
    assert x.min() >= -0.5
    assert x.max() <= 300.5
    assert y.min() >= -0.5
    assert y.max() <= 300.5
