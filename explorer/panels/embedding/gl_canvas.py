"""The point cloud in OpenGL, by pyqtgraph; looked at through the same camera as everything else."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from OpenGL import GL
from OpenGL.GL import shaders
from pyqtgraph.opengl import GLLinePlotItem, GLScatterPlotItem, GLViewWidget
from pyqtgraph.opengl.items import GLScatterPlotItem as scatter_module
from PySide6.QtGui import (
    QColor,
    QGuiApplication,
    QMatrix4x4,
    QOffscreenSurface,
    QOpenGLContext,
    QVector3D,
)
from PySide6.QtWidgets import QWidget

from explorer.core.geometry import FIELD_OF_VIEW_DEGREES, Camera

LEAST_VERSION = (2, 1)
# Renderers that compute on the CPU.
_SOFTWARE = ("llvmpipe", "softpipe", "swiftshader", "swrast", "gdi generic")


def probe_opengl() -> str | None:
    """Why OpenGL cannot be had here, or None where it can. Called once, on the GUI thread."""
    if QGuiApplication.platformName() in ("offscreen", "minimal", "vnc", "linuxfb"):
        return f"the {QGuiApplication.platformName()} platform has no OpenGL"
    context = QOpenGLContext()
    if not context.create():
        return "no OpenGL context could be made"
    surface = QOffscreenSurface()
    surface.create()
    if not context.makeCurrent(surface):
        return "the OpenGL context could not be used"
    version = context.format().version()
    context.doneCurrent()
    if version < LEAST_VERSION:
        return f"OpenGL {version[0]}.{version[1]} is too old"
    return None


_BLEND = {
    GL.GL_DEPTH_TEST: True,
    GL.GL_BLEND: True,
    GL.GL_CULL_FACE: False,
    "glDepthMask": (False,),
    "glBlendFuncSeparate": (
        GL.GL_SRC_ALPHA,
        GL.GL_ONE_MINUS_SRC_ALPHA,
        GL.GL_ONE,
        GL.GL_ONE_MINUS_SRC_ALPHA,
    ),
}


class _Cloud(GLScatterPlotItem):  # type: ignore[misc]
    """pyqtgraph's points, paler with depth."""

    _program: Any = None

    def __init__(self) -> None:
        # The default adds light, which vanishes on white. Points blend, and hide nothing behind them.
        super().__init__(glOptions=_BLEND, pxMode=False)
        self.fog = (1.0, 2.0)

    @staticmethod
    def getShaderProgram() -> Any:
        """Pyqtgraph's shaders with one line more, compiled once for all views, which share contexts."""
        if _Cloud._program is None:
            context = QOpenGLContext.currentContext()
            modern = context.format().version() >= ((3, 0) if context.isOpenGLES() else (3, 1))
            version = {
                (False, False): "120",
                (False, True): "140",
                (True, False): "100",
                (True, True): "300 es",
            }[context.isOpenGLES(), modern]
            sources = scatter_module.SHADER_CORE if modern else scatter_module.SHADER_LEGACY
            compiled = [
                shaders.compileShader([f"#version {version}\n", _with_fog(source)], kind)
                for kind, source in sources.items()
            ]
            program = shaders.compileProgram(*compiled)
            for place, name in enumerate(("a_position", "a_color", "a_size")):
                GL.glBindAttribLocation(program, place, name)
            GL.glLinkProgram(program)
            _Cloud._program = program
        return _Cloud._program

    def paint(self) -> None:
        """Set the fog, then draw."""
        program = self.getShaderProgram()
        with program:
            GL.glUniform2f(GL.glGetUniformLocation(program, "u_fog"), *self.fog)
        super().paint()
        GL.glDepthMask(True)  # else the next frame could not clear the depths


def _with_fog(source: str) -> str:
    """Add fog to a vertex shader, soft rims to a fragment shader."""
    return (
        source.replace("uniform float u_scale;", "uniform float u_scale;\nuniform vec2 u_fog;")
        .replace(
            "v_color = a_color;",
            "v_color = a_color;\n"
            "float depth = (-(u_modelview * a_position).z - u_fog.x) / (u_fog.y - u_fog.x);\n"
            "v_color.a *= 1.0 - 0.72 * clamp(depth, 0.0, 1.0);",
        )
        .replace(
            "= v_color;\n            else",
            "= v_color * vec4(1, 1, 1, 1.0 - smoothstep(0.5, 1.0, dot(xy, xy)));\n            else",
        )
    )


class GLCanvas(GLViewWidget):  # type: ignore[misc]
    """Draws points and lines from a camera, with OpenGL."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.slow = False
        self._camera = Camera()
        self._extent = 1.0
        self._point_pixels = 4.0
        self._moving = False
        self._sample: npt.NDArray[np.intp] | None = None
        self.opts["fov"] = FIELD_OF_VIEW_DEGREES
        self._lines = GLLinePlotItem(mode="lines", antialias=True, glOptions="translucent")
        self._all, self._few = _Cloud(), _Cloud()
        for order, item in enumerate((self._lines, self._all, self._few)):
            item.setDepthValue(order)
            self.addItem(item)
        self._few.setVisible(False)

    def set_points(
        self, points: npt.NDArray[np.float32], sample: npt.NDArray[np.intp] | None, extent: float
    ) -> None:
        """Draw (3, N) ``points``, while moving only those in ``sample``; ``extent`` is the cloud's radius."""
        rows = np.ascontiguousarray(points.T)
        self._sample, self._extent = sample, extent
        self._all.setData(pos=rows, color=(0.5, 0.5, 0.5, 0.5))
        self._few.setData(pos=None if sample is None else rows[sample], color=(0.5, 0.5, 0.5, 0.5))
        self._look()

    def set_colors(self, colors: npt.NDArray[np.float32]) -> None:
        """Give each point its (N, 4) colour, 0 to 1."""
        self._all.setData(color=colors)
        if self._sample is not None:
            self._few.setData(color=colors[self._sample])

    def set_point_pixels(self, pixels: float) -> None:
        """Diameter of a point in the middle of the scene, in logical pixels."""
        self._point_pixels = pixels
        self._look()

    def set_lines(self, segments: npt.NDArray[np.float32], colors: list[QColor]) -> None:
        """Draw lines behind the points: (2 M, 3) ends and M colours."""
        shades = np.array([color.getRgbF() for color in colors for _ in range(2)], dtype=np.float32)
        self._lines.setData(pos=segments, color=shades)

    def set_background(self, color: QColor) -> None:
        """Behind everything."""
        self.setBackgroundColor(color)

    def show_from(self, camera: Camera, *, moving: bool) -> None:
        """Look from ``camera``; ``moving`` says that more moves will follow at once."""
        self._camera, self._moving = camera, moving
        self._look()

    def initializeGL(self) -> None:
        """Note whether a CPU does the drawing."""
        super().initializeGL()
        renderer = (GL.glGetString(GL.GL_RENDERER) or b"").decode(errors="replace").lower()
        self.slow = any(name in renderer for name in _SOFTWARE)

    def resizeGL(self, width: int, height: int) -> None:
        """The points' size is relative to the picture's."""
        self._look()

    def viewMatrix(self) -> QMatrix4x4:
        """As our camera says, for pyqtgraph."""
        return QMatrix4x4(self._camera.view_matrix().ravel().tolist())

    def projectionMatrix(self, region: Any, viewport: Any) -> QMatrix4x4:
        """As our camera says, for pyqtgraph."""
        return QMatrix4x4(self._camera.projection_matrix(self.width(), self.height()).ravel().tolist())

    def _look(self) -> None:
        camera = self._camera
        self.opts["distance"] = camera.distance
        self.opts["center"] = QVector3D(*camera.center)
        sampled = self._moving and self.slow and self._sample is not None
        self._all.setVisible(not sampled)
        self._few.setVisible(sampled)
        # pyqtgraph divides a size by depth and by this scale, which gives device pixels half way.
        scale = 2.0 * np.tan(np.radians(FIELD_OF_VIEW_DEGREES / 2.0)) / max(1, self.width())
        size = self._point_pixels * self.devicePixelRatioF() * camera.distance * scale
        near = camera.distance - self._extent
        for item in (self._all, self._few):
            item.fog = (near, near + 2.0 * self._extent)
            item.setData(size=float(size))
        self.update()
