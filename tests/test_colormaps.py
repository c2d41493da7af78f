from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.colormaps import LOG_DECADES, ColorScale, contrast, heat_table, oklab, pixels, top_of
from explorer.theme import DARK, LIGHT


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_that_equal_steps_of_weight_look_equal(palette):
    table = heat_table(palette.heat_low, palette.heat_high)
    lab = oklab(table.astype(np.float64))
    # Measured over 51 entries, as rounding to 8 bits moves single ones.
    steps = np.linalg.norm(np.diff(lab[::51], axis=0), axis=1)
    assert steps.max() < 1.06 * steps.min()


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_that_lightness_alone_tells_weights_apart(palette):
    lightness = oklab(heat_table(palette.heat_low, palette.heat_high).astype(np.float64))[:, 0]
    change = np.diff(lightness[::5])
    assert (change > 0).all() or (change < 0).all()
    assert abs(lightness[-1] - lightness[0]) > 0.5


def test_that_the_ends_are_the_palettes_colours():
    table = heat_table("#ffffff", "#123f9b")
    assert table[0].tolist() == [255, 255, 255]
    assert table[-1].tolist() == [0x12, 0x3F, 0x9B]
    assert pixels(table)[-1] == 0xFF123F9B


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_that_dark_or_white_ink_can_be_read_on_every_colour(palette):
    table = heat_table(palette.heat_low, palette.heat_high).astype(np.float64)
    best = np.maximum(contrast(table, np.array([22.0, 27, 38])), contrast(table, np.full(3, 255.0)))
    assert best.min() > 4.0


def test_that_contrast_is_that_of_wcag():
    assert contrast(np.zeros(3), np.full(3, 255.0)) == pytest.approx(21.0)
    assert contrast(np.full(3, 119.0), np.full(3, 255.0)) == pytest.approx(4.48, abs=0.01)


@given(
    st.sampled_from(["linear", "square root", "log"]),
    st.floats(1e-6, 1.0),
    st.lists(st.floats(0.0, 1.0, width=32), min_size=2, max_size=30),
)
def test_that_more_weight_never_gets_a_weaker_colour(transform, top, weights):
    scale = ColorScale(transform, top)
    positions = scale.positions(np.sort(np.array(weights, np.float32)))
    assert (np.diff(positions) >= 0).all()
    assert positions.min() >= 0
    assert positions.max() <= 1


def test_that_scales_are_what_they_are_called():
    assert ColorScale("linear").positions(0.25) == pytest.approx(0.25)
    assert ColorScale("square root").positions(0.25) == pytest.approx(0.5)
    assert ColorScale("log").positions(1e-2) == pytest.approx(1 - 2 / LOG_DECADES)
    assert ColorScale("log").positions(0.0) == 0.0
    assert ColorScale("linear", top=0.5).positions(0.25) == pytest.approx(0.5)
    assert ColorScale("linear").positions(np.nan) == 0.0


@pytest.mark.parametrize("transform", ["linear", "square root", "log"])
def test_that_ticks_run_from_end_to_end(transform):
    scale = ColorScale(transform, 0.4)
    assert scale.ticks()[0] == pytest.approx(scale.bottom)
    assert scale.ticks()[-1] == pytest.approx(scale.top)


def test_that_a_map_of_zeros_or_of_nothing_has_a_scale():
    assert top_of(np.zeros((2, 2), np.float32)) == 1.0
    assert top_of(np.zeros((0, 3), np.float32)) == 1.0
