"""The bars' labels and what is painted over them."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QRectF
from PySide6.QtGui import QImage
from pytestqt.qtbot import QtBot

from explorer.app.state import Emphasis
from explorer.panels.softmax.bar_content import Bar, BarContent
from explorer.panels.softmax.bar_geometry import LABEL_SINE, BarGeometry
from explorer.panels.softmax.bar_labels import labelled_bars
from explorer.panels.softmax.distribution_bars import DistributionBars
from explorer.theme import Theme


def bars_of(count: int, kept: int, chosen: int = 0) -> tuple[Bar, ...]:
    share = 1.0 / count
    return tuple(
        Bar(i, f"▁piece{i}", i, share, 1.0 / kept if i < kept else 0.0, i < kept, i == chosen)
        for i in range(count)
    )


def geometry_of(count: int, width: float) -> BarGeometry:
    return BarGeometry(QRectF(0.0, 0.0, width, 100.0), count, None, 40.0)


def nothing(_token_id: int) -> Emphasis:
    return Emphasis.NONE


@pytest.mark.parametrize(("count", "width"), [(10, 900.0), (32, 760.0), (50, 400.0), (50, 2000.0)])
def test_that_labels_never_touch_and_thin_out_with_the_width(count: int, width: float) -> None:
    geometry = geometry_of(count, width)
    found = labelled_bars(bars_of(count, count), geometry, nothing, 16.0)
    places = sorted(geometry.middle(index) for index in found)
    assert min(np.diff(places), default=np.inf) * LABEL_SINE >= 16.0
    assert 0 in found
    fits = width / count * LABEL_SINE >= 16.0 * 1.1
    assert (len(found) == count) == fits


def test_that_few_of_the_cut_tokens_are_labelled_and_none_of_those_looked_at_is_left_out() -> None:
    bars = bars_of(32, kept=5, chosen=13)
    geometry = geometry_of(32, 900.0)
    found = labelled_bars(bars, geometry, nothing, 16.0)
    assert set(range(5)) <= set(found)
    assert 13 in found
    cut = [index for index in found if index >= 5 and index != 13]
    assert 0 < len(cut) <= 27 // 4 + 1
    pointed = labelled_bars(bars, geometry, lambda i: Emphasis.HOVERED if i == 22 else Emphasis.NONE, 16.0)
    assert 22 in pointed


@pytest.fixture
def bars(qtbot: QtBot, theme: Theme) -> DistributionBars:
    bars = DistributionBars(theme)
    qtbot.addWidget(bars)
    bars.resize(800, 260)
    bars.set_content(BarContent(bars_of(20, 20), 20, 0.0, 0.0, 0, (), tuple(np.linspace(0.1, 1.0, 20))))
    return bars


def ink(image: QImage, area: QRectF) -> int:
    """How many different colours there are within ``area``."""
    part = image.copy(area.toAlignedRect())
    return len({part.pixel(x, y) for x in range(part.width()) for y in range(part.height())})


def test_that_counts_stand_above_the_bars_that_were_drawn(bars: DistributionBars) -> None:
    counts = np.zeros(20, dtype=np.int64)
    counts[[3, 12]] = (40, 60)
    bars.set_draws(counts)
    image, geometry = bars.grab().toImage(), bars.geometry_of_bars()

    def above(index: int) -> QRectF:
        share = max(counts[index] / 100, 1 / 20)
        top = geometry.plot.bottom() - share * geometry.plot.height()
        return QRectF(geometry.left(index), top - 14, geometry.slot_width, 11)

    assert ink(image, above(3)) > 3
    assert ink(image, above(12)) > 3
    assert ink(image, above(7)) <= 2


def test_that_the_running_sum_has_an_axis_of_its_own(bars: DistributionBars) -> None:
    plain = bars.geometry_of_bars().plot
    bars.set_cumulative(True)
    plot = bars.geometry_of_bars().plot
    image = bars.grab().toImage()
    assert plot.right() <= plain.right()
    for share in (0.0, 0.5, 1.0):
        y = plot.bottom() - share * plot.height()
        assert ink(image, QRectF(plot.right() + 2, y - 6, bars.width() - plot.right() - 4, 12)) > 3
