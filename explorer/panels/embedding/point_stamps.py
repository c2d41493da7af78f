"""Highlighted points are drawn once per look and then stamped: a thousand cost little more than one."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QPainter, QPen, QPixmap

from explorer.app.state import Emphasis
from explorer.theme import Theme

# A stamp is kept at so many places between two pixels, in each direction: none is more than an eighth of
# a pixel from where its point lies, which the eye does not tell from the point itself.
PHASES = 4

_STRENGTHS = len(Emphasis)
_RADII = {Emphasis.SELECTED: 1.35, Emphasis.HOVERED: 1.15}
# The rim of a point: its colour, how many steps wide, and how many pixels at least.
_RIMS = {Emphasis.SELECTED: ("selection", 0.55, 3.0), Emphasis.HOVERED: ("selection", 0.3, 1.5)}
_PLAIN_RADIUS, _PLAIN_RIM = 0.85, ("surface", 0.25, 1.5)


class PointStamps:
    """A sheet of points in every look that is asked for, at every place between two pixels.

    It is drawn when a look is asked for that it lacks, or when colours, sizes or the screen changed.
    """

    def __init__(self, theme: Theme) -> None:
        self._theme = theme
        self._kinds: dict[tuple[tuple[str, ...], bool], int] = {}
        self._sheet = QPixmap()
        self._half = 0
        self._drawn_for: tuple[object, ...] = ()

    def radii(self) -> npt.NDArray[np.float64]:
        """(4,) radius of a point without its rim, in pixels, by `Emphasis`."""
        steps = [_RADII.get(emphasis, _PLAIN_RADIUS) for emphasis in Emphasis]
        return np.array([max(3.5, self._theme.space(1) * step) for step in steps])

    def look(self, sides: tuple[str, ...], emphasis: Emphasis, *, pale: bool) -> int:
        """The number of a look, to be given to `stamp`."""
        kind = self._kinds.setdefault((sides, pale), len(self._kinds))
        return kind * _STRENGTHS + emphasis

    def stamp(
        self,
        painter: QPainter,
        looks: npt.NDArray[np.intp],
        x: npt.NDArray[np.float32],
        y: npt.NDArray[np.float32],
    ) -> None:
        """Draw points in the order given.

        Parameters
        ----------
        painter : QPainter
            That of a widget or picture, neither turned nor skewed.
        looks : numpy.ndarray
            (n,) as `look` gave them.
        x, y : numpy.ndarray
            (n,) finite, the points' centres in the painter's pixels.
        """
        if not looks.size:
            return
        to_device = painter.deviceTransform()
        ratio = to_device.m11()
        self._draw_sheet(ratio)
        # A widget may begin between two pixels of the screen.
        ahead = (to_device.dx() % 1.0, to_device.dy() % 1.0)
        column, left = _phase_and_pixel(x * ratio + ahead[0])
        row, top = _phase_and_pixel(y * ratio + ahead[1])
        size = 2 * self._half
        painter.save()
        painter.scale(1.0 / ratio, 1.0 / ratio)
        painter.translate(-ahead[0], -ahead[1])
        draw, sheet = painter.drawPixmap, self._sheet
        places = np.stack(
            [left - self._half, top - self._half, (row * PHASES + column) * size, looks * size], axis=1
        )
        for at_x, at_y, from_x, from_y in places.tolist():
            draw(at_x, at_y, sheet, from_x, from_y, size, size)
        painter.restore()

    def _draw_sheet(self, ratio: float) -> None:
        theme = self._theme
        wanted = (theme.palette, theme.scale, ratio, len(self._kinds))
        if wanted == self._drawn_for:
            return
        self._drawn_for = wanted
        radii = self.radii()
        reach = max(radii[emphasis] + self._rim(emphasis).widthF() / 2.0 for emphasis in Emphasis)
        # One pixel for what anti-aliasing adds, one for the places between two pixels.
        self._half = math.ceil(reach * ratio) + 2
        size = 2 * self._half
        self._sheet = QPixmap(size * PHASES**2, size * len(self._kinds) * _STRENGTHS)
        self._sheet.fill(Qt.GlobalColor.transparent)
        painter = QPainter(self._sheet)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for sides, pale in self._kinds:
            for emphasis in Emphasis:
                top = size * self.look(sides, emphasis, pale=pale) + self._half
                painter.setOpacity(0.4 if pale else 1.0)
                for phase in range(PHASES**2):
                    painter.resetTransform()
                    painter.translate(
                        size * phase + self._half + phase % PHASES / PHASES, top + phase // PHASES / PHASES
                    )
                    painter.scale(ratio, ratio)
                    self._draw_point(painter, sides, emphasis, float(radii[emphasis]))
        painter.end()

    def _draw_point(
        self, painter: QPainter, sides: tuple[str, ...], emphasis: Emphasis, radius: float
    ) -> None:
        """Around the painter's origin."""
        box = QRectF(-radius, -radius, 2 * radius, 2 * radius)
        painter.setPen(self._rim(emphasis))
        painter.setBrush(self._theme.side_color(sides[0]))
        painter.drawEllipse(box)
        if len(sides) > 1:
            # The same token on both sides: half of it in the other colour.
            painter.setBrush(self._theme.side_color(sides[1]))
            painter.drawChord(box, -90 * 16, 180 * 16)

    def _rim(self, emphasis: Emphasis) -> QPen:
        color, steps, least = _RIMS.get(emphasis, _PLAIN_RIM)
        return QPen(self._theme.color(color), max(least, self._theme.space(steps)))


def _phase_and_pixel(
    places: npt.NDArray[np.floating],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The nearest place that a stamp is kept for, and the whole pixel before it."""
    parts = np.rint(places * PHASES).astype(np.int64)
    return parts % PHASES, parts // PHASES
