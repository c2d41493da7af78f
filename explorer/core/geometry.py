"""Vectors and how they are seen: cosines and angles, principal components, and the camera.

Angles between vectors are true ones, in however many dimensions the vectors have. `on_screen_angle`
is what a person would measure on the picture; the two are shown side by side because they differ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

FIELD_OF_VIEW_DEGREES = 36.0
# Nearer than this fraction of the camera's distance nothing is drawn or picked.
NEAR = 0.02
FAR = 60.0
MAX_ELEVATION_DEGREES = 89.0


# -- vectors ------------------------------------------------------------------------------------------


def cosine(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Cosine of two vectors, computed in float64; NaN where one of them is zero."""
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    # Each is scaled to its largest entry first, so that tiny or huge vectors neither vanish nor overflow.
    a, b = _scaled(a), _scaled(b)
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.clip(a @ b / lengths, -1.0, 1.0)) if lengths > 0.0 else math.nan


def angle_degrees(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Angle of two vectors in degrees, 0 to 180; NaN where one of them is zero.

    Kahan's formula, 2 atan2(|u - v|, |u + v|) of the unit vectors: exact to rounding even where the
    arccosine of a cosine near 1 would lose half of the digits.
    """
    a, b = _scaled(np.asarray(first, dtype=np.float64)), _scaled(np.asarray(second, dtype=np.float64))
    length_a, length_b = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    if length_a == 0.0 or length_b == 0.0:
        return math.nan
    u, v = a / length_a, b / length_b
    return math.degrees(2.0 * math.atan2(float(np.linalg.norm(u - v)), float(np.linalg.norm(u + v))))


def on_screen_angle(origin: npt.ArrayLike, first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Angle in degrees at ``origin`` between two points of the picture, all (2,) pixels; NaN if undefined."""
    center = np.asarray(origin, dtype=np.float64)
    a, b = np.asarray(first) - center, np.asarray(second) - center
    return angle_degrees(a, b) if np.isfinite(a).all() and np.isfinite(b).all() else math.nan


def arc(origin: npt.ArrayLike, first: npt.ArrayLike, second: npt.ArrayLike, steps: int = 24) -> Float64:
    """Points of the arc between two vectors that start at ``origin``, in their own plane.

    Returns
    -------
    numpy.ndarray
        (steps, 3); empty (0, 3) where the vectors are zero or opposite, so that there is no one arc.
    """
    center = np.asarray(origin, dtype=np.float64)
    a, b = np.asarray(first, dtype=np.float64) - center, np.asarray(second, dtype=np.float64) - center
    length_a, length_b = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    if length_a == 0.0 or length_b == 0.0:
        return np.empty((0, 3))
    u = a / length_a
    across = b / length_b - u * (u @ b / length_b)
    width = float(np.linalg.norm(across))
    if width < 1e-9:
        return np.empty((0, 3))
    turns = np.linspace(0.0, math.radians(angle_degrees(a, b)), steps)[:, None]
    radius = 0.4 * min(length_a, length_b)
    return np.asarray(center + radius * (np.cos(turns) * u + np.sin(turns) * across / width))


def _scaled(vector: Float64) -> Float64:
    largest = float(np.abs(vector).max(initial=0.0))
    return vector / largest if largest > 0.0 else vector


# -- principal components -----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class PrincipalComponents:
    """An exact principal component analysis.

    Attributes
    ----------
    coordinates : numpy.ndarray
        (V, k) float32; every row of the matrix along each axis.
    components : numpy.ndarray
        (k, D) float64; the axes, unit vectors. The entry of largest magnitude of each is positive.
    mean : numpy.ndarray
        (D,) float64; what is subtracted before projecting.
    explained_variance : numpy.ndarray
        (k,) float64; variance along each axis (divisor V - 1).
    explained_variance_ratio : numpy.ndarray
        (k,) float64; its share of the total variance; 0 where there is no variance at all.
    """

    coordinates: Float32
    components: Float64
    mean: Float64
    explained_variance: Float64
    explained_variance_ratio: Float64

    def project(self, vectors: npt.ArrayLike) -> Float32:
        """Coordinates (n, k) float32 of any vectors (n, D) of the full space in these axes."""
        rows = np.atleast_2d(np.asarray(vectors, dtype=np.float64))
        return np.asarray((rows - self.mean) @ self.components.T, dtype=np.float32)

    @property
    def origin(self) -> Float32:
        """(k,) where the zero vector of the full space falls."""
        return np.asarray(-(self.components @ self.mean), dtype=np.float32)


# -- the camera ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Camera:
    """Where a scene is looked at from: an orbit around a point, with the second axis pointing up.

    OpenGL, the picture without OpenGL, picking and labels all project by this one class.

    Attributes
    ----------
    center : tuple of float
        The point in the middle of the picture.
    distance : float
        From the eye to ``center``.
    azimuth, elevation : float
        Degrees around the upright axis, and above the floor.
    """

    center: tuple[float, float, float] = (0.0, 0.0, 0.0)
    distance: float = 4.0
    azimuth: float = 24.0
    elevation: float = 16.0

    def rotation(self) -> Float64:
        """(3, 3) rows: right, up and towards the eye, in scene coordinates."""
        azimuth, elevation = math.radians(self.azimuth), math.radians(self.elevation)
        sa, ca, se, ce = math.sin(azimuth), math.cos(azimuth), math.sin(elevation), math.cos(elevation)
        return np.array([[ca, 0.0, -sa], [-sa * se, ce, -ca * se], [sa * ce, se, ca * ce]])

    @staticmethod
    def focal_pixels(width: float, height: float) -> float:
        """Pixels that one unit at depth one takes; the field of view spans the shorter side."""
        return 0.5 * max(1.0, min(width, height)) / math.tan(math.radians(FIELD_OF_VIEW_DEGREES / 2.0))

    def project(self, points: npt.ArrayLike, width: float, height: float) -> Float32:
        """Project onto a picture.

        Parameters
        ----------
        points : array_like
            (3, N): one row per axis, which is what vectorises best.
        width, height : float
            Of the picture, in pixels.

        Returns
        -------
        numpy.ndarray
            (3, N) float32: x and y in pixels from the top left corner, and depth from the eye in scene
            units. What lies behind the near plane has x and y NaN. O(N): about 2 ms for 262,144 points.
        """
        rotation = self.rotation()
        focal = self.focal_pixels(width, height)
        matrix = np.array([rotation[0] * focal, -rotation[1] * focal, -rotation[2]], dtype=np.float32)
        shift = np.array([0.0, 0.0, self.distance]) - matrix.astype(np.float64) @ np.asarray(self.center)
        seen = np.asarray(matrix @ np.asarray(points, dtype=np.float32), dtype=np.float32)
        seen += shift.astype(np.float32)[:, None]
        depth = seen[2]
        behind = depth < NEAR * self.distance
        any_behind = bool(behind.any())
        if any_behind:
            seen[:2, behind] = np.nan
            depth[behind] = NEAR * self.distance
        seen[:2] /= depth
        seen[0] += np.float32(width / 2.0)
        seen[1] += np.float32(height / 2.0)
        return seen

    def view_matrix(self) -> Float64:
        """(4, 4) scene to eye coordinates, as OpenGL takes it (row-major here)."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.rotation()
        matrix[:3, 3] = -(matrix[:3, :3] @ np.asarray(self.center))
        matrix[2, 3] -= self.distance
        return matrix

    def projection_matrix(self, width: float, height: float) -> Float64:
        """(4, 4) eye to clip coordinates, as OpenGL takes it (row-major here)."""
        near, far, focal = NEAR * self.distance, FAR * self.distance, self.focal_pixels(width, height)
        matrix = np.zeros((4, 4))
        matrix[0, 0], matrix[1, 1] = 2.0 * focal / max(1.0, width), 2.0 * focal / max(1.0, height)
        matrix[2, 2], matrix[2, 3] = (near + far) / (near - far), 2.0 * near * far / (near - far)
        matrix[3, 2] = -1.0
        return matrix

    def orbited(self, azimuth: float, elevation: float) -> Camera:
        """Turned by so many degrees; never over the pole."""
        raised = min(max(self.elevation + elevation, -MAX_ELEVATION_DEGREES), MAX_ELEVATION_DEGREES)
        return replace(self, azimuth=(self.azimuth + azimuth + 180.0) % 360.0 - 180.0, elevation=raised)

    def zoomed(self, factor: float, nearest: float, farthest: float) -> Camera:
        """Nearer by ``factor`` (above 1) or farther, within bounds of the distance."""
        return replace(self, distance=min(max(self.distance / factor, nearest), farthest))

    def panned(self, dx: float, dy: float, width: float, height: float) -> Camera:
        """Moved so that the scene's centre follows the pointer by (dx, dy) pixels."""
        scale = self.distance / self.focal_pixels(width, height)
        rotation = self.rotation()
        center = np.asarray(self.center) - scale * dx * rotation[0] + scale * dy * rotation[1]
        return self.looking_at(center)

    def looking_at(self, center: npt.ArrayLike, distance: float | None = None) -> Camera:
        """Moved to another centre, and if given another distance."""
        x, y, z = (float(value) for value in np.asarray(center, dtype=np.float64))
        return replace(self, center=(x, y, z), distance=self.distance if distance is None else distance)

    def towards(self, other: Camera, share: float) -> Camera:
        """Part of the way to another camera, the short way round; 0 is here and 1 is there."""
        turn = (other.azimuth - self.azimuth + 180.0) % 360.0 - 180.0
        center = np.asarray(self.center) * (1.0 - share) + np.asarray(other.center) * share
        # Distances grow and shrink by factors, so that a zoom feels even.
        distance = math.exp(math.log(self.distance) * (1.0 - share) + math.log(other.distance) * share)
        moved = replace(self, elevation=self.elevation + (other.elevation - self.elevation) * share)
        return replace(moved, azimuth=self.azimuth + turn * share).looking_at(center, distance)


def framing_distance(radius: float) -> float:
    """How far away the eye must be for a ball of ``radius`` to fill the shorter side of the picture."""
    return max(radius, 1e-6) / math.sin(math.radians(FIELD_OF_VIEW_DEGREES / 2.0))
