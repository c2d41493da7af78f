"""The point cloud without OpenGL: projected and splatted by numpy, painted by QPainter."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QPointF, QSize
from PySide6.QtGui import QColor, QImage, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget

from explorer.core.geometry import Camera

# Far points are smaller and paler than near ones, in so many steps.
_DEPTH_STEPS = 4
_NEAR_LOOK, _FAR_LOOK = (1.25, 1.0), (0.75, 0.3)
# 0 to 255 for the densest heap of points.
_OPAQUE = 0.995


class RasterCanvas(QWidget):
    """Draws points and lines from a camera; the stand-in where OpenGL cannot be had."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._points = np.empty((3, 0), dtype=np.float32)
        self._colors = np.empty((0, 4), dtype=np.float32)
        self._sample: npt.NDArray[np.intp] | None = None
        self._segments = np.empty((0, 3), dtype=np.float32)
        self._line_colors: list[QColor] = []
        self._background = QColor("white")
        self._camera = Camera()
        self._extent = 1.0
        self._point_pixels = 4.0
        self._moving = False
        self._image: QImage | None = None

    slow = True
    """While the camera moves, only a sample is to be drawn."""

    def set_points(
        self, points: npt.NDArray[np.float32], sample: npt.NDArray[np.intp] | None, extent: float
    ) -> None:
        """Draw (3, N) ``points``, while moving only those in ``sample``; ``extent`` is the cloud's radius."""
        self._points, self._sample, self._extent = points, sample, extent
        self._changed()

    def set_colors(self, colors: npt.NDArray[np.float32]) -> None:
        """Give each point its (N, 4) colour, 0 to 1."""
        self._colors = colors
        self._changed()

    def set_point_pixels(self, pixels: float) -> None:
        """Diameter of a point in the middle of the scene, in logical pixels."""
        self._point_pixels = pixels
        self._changed()

    def set_lines(self, segments: npt.NDArray[np.float32], colors: list[QColor]) -> None:
        """Draw lines behind the points: (2 M, 3) ends and M colours."""
        self._segments, self._line_colors = segments, colors
        self.update()

    def set_background(self, color: QColor) -> None:
        """Behind everything."""
        self._background = color
        self.update()

    def show_from(self, camera: Camera, *, moving: bool) -> None:
        """Look from ``camera``; ``moving`` says that more moves will follow at once."""
        if camera != self._camera or moving != self._moving:
            self._camera, self._moving = camera, moving
            self._changed()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Lines, then the points, which are splatted anew only when something changed."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), self._background)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        seen = self._camera.project(self._segments.T, self.width(), self.height())
        for start, color in zip(range(0, len(self._segments), 2), self._line_colors, strict=True):
            ends = seen[:2, start : start + 2]
            if np.isfinite(ends).all():
                painter.setPen(QPen(color, 1.0))
                painter.drawLine(QPointF(*ends[:, 0].tolist()), QPointF(*ends[:, 1].tolist()))
        ratio = self.devicePixelRatioF()
        if self._image is None or self._image.size() != self._device_size():
            self._image = self._render(self._device_size(), ratio)
        painter.drawImage(self.rect(), self._image)

    def _device_size(self) -> QSize:
        ratio = self.devicePixelRatioF()
        return QSize(max(1, round(self.width() * ratio)), max(1, round(self.height() * ratio)))

    def _changed(self) -> None:
        self._image = None
        self.update()

    def _render(self, size: QSize, ratio: float) -> QImage:
        points, colors = self._points, self._colors
        if self._moving and self._sample is not None:
            points, colors = points[:, self._sample], colors[self._sample]
        seen = self._camera.project(points, size.width(), size.height())
        near = self._camera.distance - self._extent
        depth = (seen[2] - near) / (2.0 * self._extent)  # 0 near, 1 far
        pixels = splat(seen[:2], depth, colors, size.width(), size.height(), self._point_pixels * ratio)
        image = QImage(
            pixels.tobytes(),
            size.width(),
            size.height(),
            4 * size.width(),
            QImage.Format.Format_RGBA8888_Premultiplied,
        )
        return image.copy()  # the bytes above live only as long as this call


def splat(
    positions: npt.NDArray[np.float32],
    depth: npt.NDArray[np.float32],
    colors: npt.NDArray[np.float32],
    width: int,
    height: int,
    diameter: float,
) -> npt.NDArray[np.uint8]:
    """Draw translucent discs, without sorting them.

    Each disc adds its optical depth, and what shines through is exp(-sum): the same in any order.

    Parameters
    ----------
    positions : numpy.ndarray
        (2, N) float32 pixels; NaN is left out.
    depth : numpy.ndarray
        (N,) 0 for near and large, 1 for far, small and pale.
    colors : numpy.ndarray
        (N, 4) float32, 0 to 1.
    width, height : int
        Of the picture.
    diameter : float
        Of a disc half way, in pixels.

    Returns
    -------
    numpy.ndarray
        (height, width, 4) uint8 RGBA, premultiplied. O(N times the disc's area).
    """
    margin = int(np.ceil(diameter)) + 1
    wide, high = width + 2 * margin, height + 2 * margin
    with np.errstate(invalid="ignore"):
        x, y = np.rint(positions[0]), np.rint(positions[1])
        inside = (x >= -1) & (y >= -1) & (x <= width) & (y <= height)
    steps = np.clip(depth * _DEPTH_STEPS, 0, _DEPTH_STEPS - 1).astype(np.int8)
    cells, weights, owners = [], [], []
    for step in range(_DEPTH_STEPS):
        chosen = np.flatnonzero(inside & (steps == step))
        if not chosen.size:
            continue
        share = step / (_DEPTH_STEPS - 1)
        size = diameter * (_NEAR_LOOK[0] + share * (_FAR_LOOK[0] - _NEAR_LOOK[0]))
        strength = _NEAR_LOOK[1] + share * (_FAR_LOOK[1] - _NEAR_LOOK[1])
        offsets, cover = _disc(size, wide)
        home = (y[chosen].astype(np.int64) + margin) * wide + x[chosen].astype(np.int64) + margin
        thickness = -np.log1p(-np.minimum(colors[chosen, 3] * strength, _OPAQUE))
        cells.append((home[:, None] + offsets).ravel())
        weights.append((thickness[:, None] * cover).ravel())
        owners.append(np.repeat(chosen, len(offsets)))
    picture = np.zeros((wide * high, 4), dtype=np.uint8)
    if cells:
        where, weight = np.concatenate(cells), np.concatenate(weights)
        total = np.bincount(where, weight, minlength=wide * high)
        # Most of a picture is empty: what follows touches covered pixels only.
        covered = np.flatnonzero(total)
        thick = total[covered]
        alpha = -255.0 * np.expm1(-thick)
        flat = bool((colors[:, :3] == colors[0, :3]).all())
        owner = None if flat else np.concatenate(owners)
        for channel in range(3):
            if owner is None:
                light = alpha * colors[0, channel]
            else:
                shone = np.bincount(where, weight * colors[owner, channel], minlength=wide * high)
                light = shone[covered] * (alpha / thick)
            picture[covered, channel] = np.rint(light)
        picture[covered, 3] = np.rint(alpha)
    framed = picture.reshape(high, wide, 4)[margin : margin + height, margin : margin + width]
    return np.ascontiguousarray(framed)


def _disc(diameter: float, stride: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Offsets of the pixels of a disc in a flat picture, and how much of each it covers."""
    reach = int(np.ceil(diameter / 2.0))
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    cover = np.clip(diameter / 2.0 + 0.5 - np.hypot(dx, dy), 0.0, 1.0)
    kept = cover > 0.05
    return (dy[kept] * stride + dx[kept]).astype(np.int64), cover[kept].astype(np.float64)
