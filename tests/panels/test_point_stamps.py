"""Points stamped from a sheet, held against points that Qt draws one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PySide6.QtCore import QRectF
from PySide6.QtGui import QColor, QImage, QPainter, QPen
from pytestqt.qtbot import QtBot

from explorer.app.state import Emphasis
from explorer.panels.embedding.point_stamps import PHASES, PointStamps
from explorer.panels.embedding.scatter_overlay import Mark, ScatterOverlay
from explorer.theme import Theme

Point = tuple[float, float, tuple[str, ...], Emphasis, bool]
POINTS: list[Point] = [
    (20.0, 20.0, ("source",), Emphasis.NONE, False),
    (45.375, 20.6, ("generated",), Emphasis.NONE, True),
    (70.71, 21.13, ("source", "generated"), Emphasis.HOVERED, False),
    (20.9, 50.49, ("vocabulary",), Emphasis.SELECTED, False),
    # On top of each other: the second covers the first.
    (60.2, 50.1, ("source",), Emphasis.NONE, False),
    (63.3, 51.9, ("source", "generated"), Emphasis.NONE, True),
]
WIDTH, HEIGHT = 100, 75


def paper(ratio: float) -> QImage:
    image = QImage(round(WIDTH * ratio), round(HEIGHT * ratio), QImage.Format.Format_ARGB32_Premultiplied)
    image.setDevicePixelRatio(ratio)
    image.fill(QColor("#336699"))
    return image


def pixels(image: QImage) -> npt.NDArray[np.int64]:
    plain = image.convertToFormat(QImage.Format.Format_RGBA8888)
    rows = np.frombuffer(plain.constBits(), np.uint8).reshape(plain.height(), -1)
    return rows.reshape(plain.height(), -1, 4)[:, : plain.width(), :3].astype(np.int64)


def stamped(theme: Theme, points: list[Point], ratio: float, shift: tuple[float, float]) -> QImage:
    stamps = PointStamps(theme)
    looks = np.array([stamps.look(sides, strength, pale=pale) for _, _, sides, strength, pale in points])
    image = paper(ratio)
    painter = QPainter(image)
    painter.translate(*shift)
    x, y = np.array([point[:2] for point in points], dtype=np.float32).T
    stamps.stamp(painter, looks, x, y)
    painter.end()
    return image


def drawn(theme: Theme, points: list[Point], ratio: float, shift: tuple[float, float]) -> QImage:
    """The same, as one would draw them one by one."""
    image = paper(ratio)
    painter = QPainter(image)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.translate(*shift)
    for x, y, sides, strength, pale in points:
        size = {Emphasis.SELECTED: 1.35, Emphasis.HOVERED: 1.15}.get(strength, 0.85)
        radius = max(3.5, theme.space(1) * size)
        pen = QPen(theme.color("surface"), max(1.5, theme.space(0.25)))
        if strength is Emphasis.SELECTED:
            pen = QPen(theme.color("selection"), max(3.0, theme.space(0.55)))
        elif strength is Emphasis.HOVERED:
            pen = QPen(theme.color("selection"), max(1.5, theme.space(0.3)))
        painter.setOpacity(0.4 if pale else 1.0)
        painter.setPen(pen)
        box = QRectF(x - radius, y - radius, 2 * radius, 2 * radius)
        painter.setBrush(theme.side_color(sides[0]))
        painter.drawEllipse(box)
        if len(sides) > 1:
            painter.setBrush(theme.side_color(sides[1]))
            painter.drawChord(box, -90 * 16, 180 * 16)
    painter.end()
    return image


@pytest.mark.parametrize("ratio", [1.0, 1.25, 1.5, 2.0])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (3.0, 1.0)])
def test_that_a_stamp_at_a_place_that_is_kept_is_the_point_that_qt_draws(
    theme: Theme, ratio: float, shift: tuple[float, float]
) -> None:
    def kept(value: float, offset: float) -> float:
        return round((value + offset) * ratio * PHASES) / PHASES / ratio - offset

    points = [(kept(x, shift[0]), kept(y, shift[1]), *rest) for x, y, *rest in POINTS]
    apart = pixels(stamped(theme, points, ratio, shift)) - pixels(drawn(theme, points, ratio, shift))  # type: ignore[arg-type]
    # Where two points lie on each other, colours are mixed in another order, and rounded.
    assert np.abs(apart).max() <= 16
    assert np.abs(apart).mean() < 0.1


@pytest.mark.parametrize("ratio", [1.0, 1.5, 2.0])
def test_that_a_stamp_anywhere_is_within_an_eighth_of_a_pixel(theme: Theme, ratio: float) -> None:
    apart = pixels(stamped(theme, POINTS, ratio, (0.0, 0.0))) - pixels(
        drawn(theme, POINTS, ratio, (0.0, 0.0))
    )
    # The edge of a disc moved by an eighth of a pixel in both directions changes a pixel by no more.
    assert np.abs(apart).max() <= 256 * np.hypot(0.125, 0.125) + 16
    assert np.abs(apart).mean() < 1.0


def test_that_the_sheet_follows_colours_and_sizes(theme: Theme) -> None:
    stamps = PointStamps(theme)
    look = np.array([stamps.look(("source",), Emphasis.NONE, pale=False)])
    middle = np.array([40.0], dtype=np.float32)

    def color() -> QColor:
        image = paper(1.0)
        painter = QPainter(image)
        stamps.stamp(painter, look, middle, middle)
        painter.end()
        return image.pixelColor(40, 40)

    assert color() == theme.side_color("source")
    before = theme.side_color("source")
    theme.set_scheme("dark" if not theme.palette.dark else "light")
    assert theme.side_color("source") != before
    assert color() == theme.side_color("source")
    radius = stamps.radii()[Emphasis.NONE]
    theme.set_scale(2.0)
    assert stamps.radii()[Emphasis.NONE] > 1.5 * radius


SEEN = np.array(
    [[100.0, 1e12, np.nan, -3.0, -500.0], [75.0, -1e12, np.nan, 20.0, 75.0], [1.0, 1.0, np.nan, 1.0, 1.0]],
    dtype=np.float32,
)


class _Overlay(ScatterOverlay):
    """Its five marks are seen where `SEEN` says."""

    def project(self, points: npt.ArrayLike) -> npt.NDArray[np.float32]:
        return SEEN[:, : np.shape(points)[1]]


class _Recording(PointStamps):
    stamped_x: tuple[float, ...] = ()

    def stamp(self, painter: QPainter, looks: Any, x: Any, y: Any) -> None:
        self.stamped_x += tuple(x.tolist())
        super().stamp(painter, looks, x, y)


def test_that_points_beyond_the_picture_and_behind_the_eye_are_let_be(qtbot: QtBot, theme: Theme) -> None:
    overlay = _Overlay(theme, None)  # type: ignore[arg-type]
    qtbot.addWidget(overlay)
    overlay.resize(200, 150)
    overlay._stamps = stamps = _Recording(theme)
    overlay.set_scene(np.zeros((3, 1), dtype=np.float32), np.zeros(3), ())
    overlay.set_marks([Mark(0, "w", ("source",)) for _ in range(5)])
    image = overlay.grab().toImage()
    # The one at the edge is seen in part.
    assert sorted(stamps.stamped_x) == [-3.0, 100.0]
    ratio = image.devicePixelRatio()
    assert image.pixelColor(round(100 * ratio), round(75 * ratio)) == theme.side_color("source")


def test_that_a_picture_without_points_is_drawn_without_complaint(
    qtbot: QtBot, theme: Theme, qtlog: Any
) -> None:
    overlay = ScatterOverlay(theme, None)  # type: ignore[arg-type]
    qtbot.addWidget(overlay)
    overlay.resize(200, 150)
    overlay.grab()
    assert [record.message for record in qtlog.records] == []
