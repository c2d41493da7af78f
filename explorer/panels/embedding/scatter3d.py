"""A 3D scatter plot: the cloud, what is painted over it, the camera, and the hand that moves it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QEasingCurve, QEvent, QPointF, QSize, Qt, QTimer, QVariantAnimation, Signal
from PySide6.QtGui import QColor, QKeyEvent, QMouseEvent, QResizeEvent, QWheelEvent
from PySide6.QtWidgets import QApplication, QWidget

from explorer.core import picking
from explorer.core.geometry import Camera, framing_distance, on_screen_angle
from explorer.panels.embedding.cloud_view import Legend
from explorer.panels.embedding.gl_canvas import GLCanvas, probe_opengl
from explorer.panels.embedding.raster_canvas import RasterCanvas
from explorer.panels.embedding.scatter_overlay import AxisName, Mark, ScatterOverlay, Trail, VectorPair
from explorer.theme import Theme

# A slow renderer draws so many points while the camera moves, and all of them when it rests.
MOVING_POINTS = 30_000
REST_MS = 160
FLIGHT_MS = 220
DEGREES_PER_PIXEL = 0.4
KEY_DEGREES = 8.0
ZOOM_PER_NOTCH = 1.15
PICK_PIXELS = 7.0
# What must be seen after a selection lies within this share of the picture's sides.
INNER = 0.06
# A pair's vectors are to take up this share of the picture's shorter side.
LEAST_PAIR = 0.5
GRID_LINES = 8


class Scatter3D(QWidget):
    """Points that can be turned, zoomed, hovered and clicked.

    Drag turns, right or middle drag (or Ctrl and drag) moves, the wheel zooms, Home resets. It draws with
    OpenGL where that can be had and without where not; camera, picking and labels are the same.

    Signals
    -------
    hovered : int or None
        The point under the pointer changed.
    clicked : int or None, bool
        A point, or nothing, was clicked; True with Ctrl or Shift held.
    view_changed
        The camera or the size of the picture changed.
    """

    hovered = Signal(object)
    clicked = Signal(object, bool)
    view_changed = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None, *, opengl: bool | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("scatter")
        self.setAccessibleName("Token vectors in three dimensions")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setMinimumSize(120, 90)
        self._theme = theme
        self.no_opengl = probe_opengl() if opengl is None else None if opengl else "it was not wanted"
        self._canvas: GLCanvas | RasterCanvas = RasterCanvas(self) if self.no_opengl else GLCanvas(self)
        self._canvas.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._overlay = ScatterOverlay(theme, self)
        self._overlay.raise_()
        self._points = np.empty((3, 0), dtype=np.float32)
        self._extent = 1.0
        self._origin = np.zeros(3)
        self._camera = self._home = Camera()
        self._projected: npt.NDArray[np.float32] | None = None
        self._pressed: QPointF | None = None
        self._dragged_from: QPointF | None = None
        self._hover: int | None = None
        self._flight = QVariantAnimation(self)
        self._flight.setDuration(FLIGHT_MS)
        self._flight.setEasingCurve(QEasingCurve.Type.InOutCubic)
        self._flight.setStartValue(0.0)
        self._flight.setEndValue(1.0)
        self._flight_ends = (self._camera, self._camera)
        self._flight.valueChanged.connect(self._on_flight_moved)
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(REST_MS)
        self._rest.timeout.connect(self._on_rested)
        self.update_theme()

    # -- the scene ----------------------------------------------------------------------------------

    def set_scene(
        self, points: npt.NDArray[np.float32], origin: npt.ArrayLike, axis_names: tuple[str, str, str]
    ) -> None:
        """Show other points, and go home.

        Parameters
        ----------
        points : numpy.ndarray
            (N, 3) float32: right, up and towards the eye.
        origin : array_like
            (3,) where vectors start.
        axis_names : tuple of str
            For the three axes.
        """
        self._points = np.ascontiguousarray(np.asarray(points, dtype=np.float32).T)
        self._origin = np.asarray(origin, dtype=np.float64)
        lengths = np.linalg.norm(self._points, axis=0)
        # A few far outliers are not to shrink everything else.
        self._extent = max(float(np.quantile(lengths, 0.98)) if lengths.size else 1.0, 1e-6)
        count = self._points.shape[1]
        rng = np.random.default_rng(0)
        few = np.sort(rng.choice(count, MOVING_POINTS, replace=False)) if count > MOVING_POINTS else None
        self._canvas.set_points(self._points, few, self._extent)
        self._axis_names = [
            AxisName(tuple(self._extent * 1.06 * row), name)
            for row, name in zip(np.eye(3), axis_names, strict=True)
        ]
        self._overlay.set_scene(self._points, self._origin, self._axis_names)
        self._home = Camera(distance=framing_distance(self._extent) * 1.12)
        self._flight.stop()
        self._projected = None
        self._hover = None
        self.update_theme()
        self._set_camera(self._home)

    def set_colors(self, colors: npt.NDArray[np.float32]) -> None:
        """Colour the points: (N, 4) float32, 0 to 1."""
        self._canvas.set_colors(colors)

    def set_marks(self, marks: Sequence[Mark]) -> None:
        """Highlight and label some points, most important first."""
        self._overlay.set_marks(marks)

    def set_pair(self, pair: VectorPair | None) -> None:
        """Draw two points as vectors from the origin, with the arc between them."""
        self._overlay.set_pair(pair)

    def set_trails(self, trails: Sequence[Trail]) -> None:
        """Draw lines through the scene."""
        self._overlay.set_trails(trails)

    def set_legend(self, legend: Legend | None) -> None:
        """Say what the colours mean."""
        self._overlay.set_legend(legend)

    def update_theme(self) -> None:
        """Colours or sizes changed."""
        self._update_point_size()
        self._canvas.set_background(self._theme.color("surface"))
        segments, colors = self._grid()
        self._canvas.set_lines(segments, colors)
        self._overlay.update()

    def _update_point_size(self) -> None:
        """Many points, or a small picture, make small points."""
        count = max(1, self._points.shape[1])
        room = float(np.clip(min(self.width(), self.height()) / 420.0, 0.6, 1.2))
        pixels = float(np.clip(4.4 * room * (8000 / count) ** 0.22, 1.7, 8.0))
        self._canvas.set_point_pixels(pixels * self._theme.scale)

    def _grid(self) -> tuple[npt.NDArray[np.float32], list[QColor]]:
        """The floor under the cloud, and the three axes through its middle."""
        reach = self._extent
        floor, axis = self._theme.color("grid"), self._theme.color("faint")
        segments: list[tuple[float, float, float]] = []
        for place in np.linspace(-reach, reach, GRID_LINES + 1):
            segments += [(place, -reach, -reach), (place, -reach, reach)]
            segments += [(-reach, -reach, place), (reach, -reach, place)]
        colors = [floor] * (2 * (GRID_LINES + 1))
        for row in np.eye(3) * reach:
            segments += [tuple(-row), tuple(row)]
            colors.append(axis)
        return np.array(segments, dtype=np.float32), colors

    # -- the camera ---------------------------------------------------------------------------------

    @property
    def camera(self) -> Camera:
        """Where the scene is looked at from."""
        return self._camera

    @property
    def flying(self) -> bool:
        """Whether the camera is on its way somewhere."""
        return self._flight.state() == QVariantAnimation.State.Running

    @property
    def marks(self) -> tuple[Mark, ...]:
        """The highlighted points."""
        return self._overlay.marks

    @property
    def pair(self) -> VectorPair | None:
        """The two vectors that are drawn."""
        return self._overlay.pair

    @property
    def trails(self) -> tuple[Trail, ...]:
        """The lines that are drawn."""
        return self._overlay.trails

    def go_home(self) -> None:
        """Fly back to where the whole cloud is seen."""
        self.fly_to(self._home)

    def fly_to(self, camera: Camera) -> None:
        """Move there within a moment."""
        self._flight.stop()
        self._flight_ends = (self._camera, camera)
        self._flight.start()

    def fly_to_point(self, index: int) -> None:
        """Bring a point into the middle, near enough to tell it from its neighbours."""
        near = min(self._camera.distance, self._home.distance * 0.45)
        self.fly_to(self._camera.looking_at(self._points[:, index], near))

    def reveal(self, index: int) -> None:
        """Bring a point into view if it is not."""
        points = self._points[:, [index]].astype(np.float64)
        if not self._in_view(points):
            self.fly_to(self._camera.looking_at(points[:, 0]))

    def reveal_places(self, places: npt.ArrayLike, *, least: float = 0.0, room: float = 1.1) -> None:
        """Bring (n, 3) places into view, and to ``least`` of the shorter side, with ``room`` around them."""
        points = np.asarray(places, dtype=np.float64).T
        x, y, _ = self._overlay.project(points)
        size = max(float(np.ptp(x)), float(np.ptp(y))) if self._in_view(points) else -1.0
        if size < least * min(self.width(), self.height()):
            center = (points.max(axis=1) + points.min(axis=1)) / 2.0
            radius = float(np.linalg.norm(points - center[:, None], axis=0).max())
            self.fly_to(self._camera.looking_at(center, max(framing_distance(radius * room), self._nearest)))

    def reveal_pair(self, pair: VectorPair) -> None:
        """Bring a pair and its origin into view and to a fair size, if they are not."""
        self.reveal_places([pair.origin, *pair.tips], least=LEAST_PAIR, room=1.5)

    def _in_view(self, points: npt.NDArray[np.float64]) -> bool:
        x, y, _ = self._overlay.project(points)
        width, height = self.width(), self.height()
        with np.errstate(invalid="ignore"):
            inside = (x > INNER * width) & (x < (1 - INNER) * width)
            inside &= (y > INNER * height) & (y < (1 - INNER) * height)
        return bool(inside.all())

    def screen_positions(self, indices: Sequence[int]) -> npt.NDArray[np.float32]:
        """(3, n + 1) pixels and depth of the origin and of some points, as they are drawn now."""
        return self._overlay.project(np.column_stack([self._origin, self._points[:, list(indices)]]))

    def on_screen_angle(self, pair: VectorPair) -> float:
        """The angle of two vectors as it is drawn now, in degrees."""
        spots = self._overlay.project(np.array([pair.origin, *pair.tips], dtype=np.float64).T)
        origin, first, second = spots[:2].T
        return on_screen_angle(origin, first, second)

    def place_of(self, index: int) -> tuple[float, float, float]:
        """Where a point lies in the scene."""
        x, y, z = (float(value) for value in self._points[:, index])
        return (x, y, z)

    @property
    def _nearest(self) -> float:
        return self._home.distance * 0.02

    def _set_camera(self, camera: Camera, *, moving: bool = False) -> None:
        self._camera = camera
        self._projected = None
        self._canvas.show_from(camera, moving=moving)
        self._overlay.show_from(camera)
        if moving:
            self._rest.start()
        self.view_changed.emit()

    def _on_flight_moved(self, share: float) -> None:
        start, end = self._flight_ends
        self._set_camera(start.towards(end, share), moving=share < 1.0)

    def _on_rested(self) -> None:
        self._canvas.show_from(self._camera, moving=False)

    # -- the hand -----------------------------------------------------------------------------------

    def point_at(self, position: QPointF) -> int | None:
        """The point under a position of this widget: highlighted ones first, then all. O(N)."""
        marks = self._overlay.marks
        if marks:
            seen = self._overlay.project(self._overlay.places())
            hit = picking.nearest(seen, position.x(), position.y(), self._overlay.reach + 2.0)
            if hit is not None:
                return marks[hit].index
        if self._projected is None:
            self._projected = self._overlay.project(self._points)
        return picking.nearest(self._projected, position.x(), position.y(), PICK_PIXELS * self._theme.scale)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """A press may become a click or a drag."""
        self._flight.stop()
        self._pressed = self._dragged_from = event.position()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Drag, or name the point under the pointer."""
        here = event.position()
        if self._pressed is None or self._dragged_from is None:
            self._set_hover(self.point_at(here))
            return
        far = (here - self._pressed).manhattanLength() >= QApplication.startDragDistance()
        if self._dragged_from == self._pressed and not far:
            return
        dx, dy = here.x() - self._dragged_from.x(), here.y() - self._dragged_from.y()
        self._dragged_from = here
        self._set_hover(None)
        left_only = event.buttons() == Qt.MouseButton.LeftButton
        if left_only and not event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            turned = self._camera.orbited(-dx * DEGREES_PER_PIXEL, dy * DEGREES_PER_PIXEL)
            self._set_camera(turned, moving=True)
        else:
            self._set_camera(self._camera.panned(dx, dy, self.width(), self.height()), moving=True)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """A press that did not move is a click."""
        clicked = self._pressed is not None and self._dragged_from == self._pressed
        self._pressed = self._dragged_from = None
        if clicked and event.button() == Qt.MouseButton.LeftButton:
            held = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
            self.clicked.emit(self.point_at(event.position()), bool(event.modifiers() & held))

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Fly to the point."""
        index = self.point_at(event.position())
        if index is not None:
            self.fly_to_point(index)

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Zoom."""
        self._zoom(ZOOM_PER_NOTCH ** (event.angleDelta().y() / 120.0))
        event.accept()

    def leaveEvent(self, event: QEvent) -> None:
        """Nothing is under the pointer any more."""
        self._set_hover(None)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Home resets, + and - zoom, Shift and arrows turn."""
        turns = {
            Qt.Key.Key_Left: (-KEY_DEGREES, 0.0),
            Qt.Key.Key_Right: (KEY_DEGREES, 0.0),
            Qt.Key.Key_Up: (0.0, KEY_DEGREES),
            Qt.Key.Key_Down: (0.0, -KEY_DEGREES),
        }
        if event.key() == Qt.Key.Key_Home:
            self.go_home()
        elif event.key() in (Qt.Key.Key_Plus, Qt.Key.Key_Equal):
            self._zoom(ZOOM_PER_NOTCH)
        elif event.key() == Qt.Key.Key_Minus:
            self._zoom(1.0 / ZOOM_PER_NOTCH)
        elif event.key() in turns and event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            self._set_camera(self._camera.orbited(*turns[Qt.Key(event.key())]), moving=True)
        else:
            # Plain arrows move the selection, which is the window's.
            super().keyPressEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Cloud and overlay fill the whole of it."""
        self._canvas.setGeometry(self.rect())
        self._overlay.setGeometry(self.rect())
        self._update_point_size()
        self._projected = None
        self.view_changed.emit()

    def sizeHint(self) -> QSize:
        """Room enough to turn it."""
        return QSize(480, 360)

    def _zoom(self, factor: float) -> None:
        zoomed = self._camera.zoomed(factor, self._nearest, self._home.distance * 4.0)
        self._set_camera(zoomed, moving=True)

    def _set_hover(self, index: int | None) -> None:
        if index != self._hover:
            self._hover = index
            self.hovered.emit(index)
