"""Thumbnails: how cells are brought to pixels, and how a long text's are reduced and named."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtGui import QAction

from explorer.app.state import AppState
from explorer.panels.attention.thumbnail_wall import Wall, fit, fit_mean, paint_wall
from explorer.panels.attention_panel import AttentionPanel
from explorer.theme import Theme
from tests.support import fill


@given(st.integers(1, 40), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_that_every_cell_is_in_exactly_one_pixel_when_shrunk(have: int, size: int, seed: int) -> None:
    cells = np.random.default_rng(seed).integers(0, 255, (2, have, 3), dtype=np.uint8)
    weights = cells.astype(np.float32)
    largest, mean = fit(cells, size, 1), fit_mean(weights, size, 1)
    assert largest.shape == mean.shape == (2, size, 3)
    starts = np.arange(size) * have // size
    for pixel, start in enumerate(starts):
        end = max(start + 1, starts[pixel + 1] if pixel + 1 < size else have)
        np.testing.assert_array_equal(largest[:, pixel], cells[:, start:end].max(axis=1))
        np.testing.assert_allclose(mean[:, pixel], weights[:, start:end].mean(axis=1), rtol=1e-6)


def test_that_thumbnails_hang_row_by_row_and_pale_ones_step_back() -> None:
    table = np.linspace(255, 0, 256).astype(np.uint8)[:, None].repeat(3, 1)
    wall = Wall(np.array([0, 12]), np.array([0, 12]), 10, 10, (24, 24))
    cells = np.arange(4, dtype=np.uint8)[:, None, None].repeat(2, 1).repeat(2, 2) * 60
    pale = np.array([False, False, True, False])
    colors = {"surface": 0xFFFFFFFF, "empty": 0xFFEEEEEE, "edge": 0xFF000000}
    image = paint_wall(wall, cells, pale=pale, table=table, **colors)
    shade = [image.pixelColor(x, y).red() for y in (5, 17) for x in (5, 17)]
    assert shade[0] == 255
    assert shade[1] == 195
    assert shade[3] == 75
    assert shade[2] == round(255 + (135 - 255) * 0.25)
    assert image.pixelColor(11, 5).red() == 255
    blank = paint_wall(wall, None, pale=pale, table=table, **colors)
    assert blank.pixelColor(5, 5).red() == 0xEE


@pytest.fixture
def panel(qtbot, state: AppState, theme: Theme) -> AttentionPanel:
    fill(state)
    panel = AttentionPanel(state, theme)
    qtbot.addWidget(panel)
    panel.resize(900, 700)
    panel.show()
    qtbot.waitExposed(panel)
    return panel


def test_that_how_thumbnails_are_pooled_is_chosen_and_said_under_the_map(state, panel):
    assert "thumbnails" not in panel.caption.text()
    pooled = dataclasses.replace(
        state.overview, pooling="max", weights=state.overview.weights[:, :, :2, :3], queries=130, keys=200
    )
    state.set_overview(pooled)
    assert panel.caption.text().endswith("thumbnails: largest of up to 65 × 67 weights")
    asked = []
    state.pooling_changed.connect(lambda: asked.append(state.pooling))
    panel.findChild(QAction, "attention_pool_mean").trigger()
    assert asked == ["mean"]
    state.set_overview(dataclasses.replace(pooled, pooling="mean"))
    assert panel.caption.text().endswith("thumbnails: mean of up to 65 × 67 weights")


def test_that_a_mean_on_screen_is_a_mean_of_weights(qtbot, state, panel):
    """Cells of 0 and 1 in turn, more than there are pixels: half the colour everywhere, not all of it."""
    weights = np.zeros((3, 8, 64, 64), dtype=np.float32)
    weights[:, :, :, ::2] = 1.0
    panel.resize(380, 420)
    state.set_pooling("mean")
    state.set_overview(dataclasses.replace(state.overview, pooling="mean", weights=weights))
    rect = panel.overview.cell_rect(1, 3).toRect().adjusted(2, 2, -2, -2)
    assert 0 < rect.width() < 60
    image = panel.overview.grab(rect).toImage()
    shades = {image.pixelColor(x, 3).lightness() for x in range(image.width())}
    panel.findChild(QAction, "attention_pool_max").trigger()
    state.set_overview(dataclasses.replace(state.overview, pooling="max", weights=weights))
    peaks = panel.overview.grab(rect).toImage()
    assert min(shades) > min(peaks.pixelColor(x, 3).lightness() for x in range(peaks.width())) + 20
