"""What is painted over the point cloud: highlighted tokens, labels, vectors, the arc, axis names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import (
    QColor,
    QFont,
    QFontMetricsF,
    QLinearGradient,
    QPainter,
    QPaintEvent,
    QPen,
    QPolygonF,
)
from PySide6.QtWidgets import QWidget

from explorer.app.state import Emphasis
from explorer.core.geometry import Camera, arc
from explorer.panels.embedding.cloud_view import Legend
from explorer.panels.embedding.label_layout import MOST_LABELS, Box, place_labels
from explorer.panels.widgets.piece_text import shorten, visible_text
from explorer.theme import Theme

LONGEST_LABEL = 24
Place = tuple[float, float, float]
# The angle's key among the labels; others are rows of the cloud.
_ANGLE, _ARROW = -1, -2


@dataclass(frozen=True, slots=True)
class Mark:
    """A point that stands out.

    Attributes
    ----------
    index : int
        Row of the cloud.
    label : str
        What is written beside it.
    sides : tuple of str
        Where its token stands: ``source``, ``generated``, ``start``, or ``vocabulary``; one or several.
    emphasis : Emphasis
        How strongly to draw it.
    pale : bool
        Whether it belongs to an older text than the one typed.
    at : tuple of float or None
        Where it is drawn; None for where the cloud has it.
    """

    index: int
    label: str
    sides: tuple[str, ...]
    emphasis: Emphasis = Emphasis.NONE
    pale: bool = False
    at: Place | None = None


@dataclass(frozen=True, slots=True)
class VectorPair:
    """Two vectors from one origin, the sides that colour them, and what is written at the arc between."""

    origin: Place
    tips: tuple[Place, Place]
    sides: tuple[str, str]
    text: str


@dataclass(frozen=True, slots=True)
class Trail:
    """A line through the scene: a token's way so far, or with ``arrow`` a sum of vectors."""

    places: tuple[Place, ...]
    side: str
    arrow: str = ""


@dataclass(frozen=True, slots=True)
class AxisName:
    """What stands at the end of an axis."""

    end: tuple[float, float, float]
    text: str


@dataclass(frozen=True, slots=True)
class _Label:
    """A label that wants a place near (x, y)."""

    key: int
    text: str
    x: float
    y: float
    radius: float
    font: QFont
    color: QColor
    pale: bool = False


class ScatterOverlay(QWidget):
    """One painter for everything but the cloud; it lets every gesture through.

    Cost: a projection of the marked points only, and one label layout per frame.
    """

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setAttribute(Qt.WidgetAttribute.WA_NoSystemBackground)
        self._theme = theme
        self._points = np.empty((3, 0), dtype=np.float32)
        self._origin = np.zeros(3)
        self._axes: Sequence[AxisName] = ()
        self._marks: tuple[Mark, ...] = ()
        self._pair: VectorPair | None = None
        self._trails: tuple[Trail, ...] = ()
        self._legend: Legend | None = None
        self._arrow_at: tuple[float, float] | None = None
        self._camera = Camera()
        self._places: dict[int, int] = {}
        self._angle_at: tuple[float, float] | None = None

    def set_scene(
        self, points: npt.NDArray[np.float32], origin: npt.NDArray[np.float64], axes: Sequence[AxisName]
    ) -> None:
        """Take the (3, N) points that marks refer to, the zero vector's place, and the axes' names."""
        self._points, self._origin, self._axes = points, origin, axes
        self._places.clear()
        self.update()

    def set_marks(self, marks: Sequence[Mark]) -> None:
        """Highlight these points, most important first."""
        self._marks = tuple(marks)
        self.update()

    def set_trails(self, trails: Sequence[Trail]) -> None:
        """Draw lines through the scene."""
        self._trails = tuple(trails)
        self.update()

    def set_legend(self, legend: Legend | None) -> None:
        """Say what the cloud's colours mean."""
        self._legend = legend
        self.update()

    def places(self) -> npt.NDArray[np.float64]:
        """(3, n) where the marks are."""
        if not self._marks:
            return np.empty((3, 0))
        own = self._points[:, [mark.index for mark in self._marks]].astype(np.float64)
        for column, mark in enumerate(self._marks):
            if mark.at is not None:
                own[:, column] = mark.at
        return own

    def set_pair(self, pair: VectorPair | None) -> None:
        """Draw two vectors and the arc between them."""
        self._pair = pair
        self.update()

    def show_from(self, camera: Camera) -> None:
        """Look from ``camera``."""
        self._camera = camera
        self.update()

    @property
    def marks(self) -> tuple[Mark, ...]:
        """The highlighted points."""
        return self._marks

    @property
    def pair(self) -> VectorPair | None:
        """The two vectors that are drawn."""
        return self._pair

    @property
    def trails(self) -> tuple[Trail, ...]:
        """The lines that are drawn."""
        return self._trails

    @property
    def named(self) -> frozenset[int]:
        """`Mark.index` of those that had room for their label at the last painting."""
        return frozenset(self._places)

    def mark_radius(self, mark: Mark) -> float:
        """How large a mark is drawn, in pixels."""
        steps = {Emphasis.SELECTED: 1.35, Emphasis.HOVERED: 1.15}.get(mark.emphasis, 0.85)
        return max(3.5, self._theme.space(1) * steps)

    def project(self, points: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Pixels and depth of (3, n) points, as they are drawn now."""
        return self._camera.project(points, self.width(), self.height())

    def paintEvent(self, event: QPaintEvent) -> None:
        """Axes' names, vectors, points, labels, in this order."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        seen = self.project(self.places())
        taken = self._paint_axis_names(painter)
        self._angle_at = self._arrow_at = None
        if self._legend is not None:
            taken.append(self._paint_legend(painter, self._legend))
        for trail in self._trails:
            self._paint_trail(painter, trail)
        if self._pair is not None:
            taken += self._paint_pair(painter, self._pair)
        # The strongest last, so that nothing covers it.
        shown = np.flatnonzero(np.isfinite(seen[:2]).all(axis=0)).tolist()
        drawn = [
            (self._marks[i], x, y, z) for i, (x, y, z) in zip(shown, seen[:, shown].T.tolist(), strict=True)
        ]
        for mark, x, y, _ in sorted(drawn, key=lambda spot: (spot[0].emphasis, -spot[3])):
            self._paint_point(painter, mark, x, y)
        # A label beside the edge for a point beyond it would look like a point of its own.
        inside = self.rect()
        spots = [(mark, x, y) for mark, x, y, _ in drawn if inside.contains(round(x), round(y))]
        # Where not all can be named, those that a tool asked for come before the sentence's.
        crowded = len(spots) > MOST_LABELS
        spots.sort(key=lambda spot: (-spot[0].emphasis, crowded and spot[0].sides[0] != "vocabulary"))
        unnamed = [(x, y, self.mark_radius(mark)) for mark, x, y in spots[MOST_LABELS:]]
        self._paint_labels(painter, self._labels(spots[:MOST_LABELS]), unnamed, taken)

    def _paint_axis_names(self, painter: QPainter) -> list[Box]:
        font = self._theme.prose("small")
        painter.setFont(font)
        painter.setPen(self._theme.color("muted"))
        metrics = QFontMetricsF(font)
        ends = self.project(np.array([axis.end for axis in self._axes]).reshape(-1, 3).T)
        boxes: list[Box] = []
        for axis, (x, y) in zip(self._axes, ends[:2].T, strict=True):
            if not np.isfinite(x) or not np.isfinite(y):
                continue
            width, height = metrics.horizontalAdvance(axis.text), metrics.height()
            box = QRectF(x - width / 2, y - height - 2, width, height)
            if self.rect().contains(box.toAlignedRect()) and not any(_hits(box, other) for other in boxes):
                painter.drawText(box, Qt.AlignmentFlag.AlignCenter, axis.text)
                boxes.append((box.left(), box.top(), box.right(), box.bottom()))
        return boxes

    def _paint_pair(self, painter: QPainter, pair: VectorPair) -> list[Box]:
        theme = self._theme
        corners = np.array([pair.origin, *pair.tips], dtype=np.float64).T
        spots = self.project(corners)[:2].T
        if not np.isfinite(spots).all():
            return []
        origin, *tips = (QPointF(float(x), float(y)) for x, y in spots)
        for side, tip in zip(pair.sides, tips, strict=True):
            width = max(2.0, theme.space(0.45))
            painter.setPen(QPen(theme.side_color(side), width, c=Qt.PenCapStyle.RoundCap))
            painter.drawLine(origin, tip)
        painter.setPen(QPen(theme.color("text"), max(1.5, theme.space(0.25))))
        painter.setBrush(theme.color("surface"))
        painter.drawEllipse(origin, theme.space(0.5), theme.space(0.5))
        boxes = [_around(origin, theme.space(0.7))]
        curve = self.project(arc(*corners.T).T)[:2].T
        if not len(curve) or not np.isfinite(curve).all():
            return boxes
        painter.setPen(QPen(theme.color("selection"), max(2.5, theme.space(0.5))))
        painter.drawPolyline(QPolygonF([QPointF(float(x), float(y)) for x, y in curve]))
        middle = curve[len(curve) // 2]
        self._angle_at = (float(middle[0]), float(middle[1]))
        return boxes

    def _paint_trail(self, painter: QPainter, trail: Trail) -> None:
        theme = self._theme
        spots = self.project(np.array(trail.places, dtype=np.float64).T)[:2].T
        if len(spots) < 2 or not np.isfinite(spots).all():
            return
        line = QPolygonF([QPointF(float(x), float(y)) for x, y in spots])
        color = theme.color("selection") if trail.arrow else theme.side_color(trail.side)
        if not trail.arrow:
            color.setAlpha(130)
        painter.setPen(QPen(color, max(1.5, theme.space(0.45 if trail.arrow else 0.3))))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawPolyline(line)
        if trail.arrow:
            self._arrow_at = (float(spots[-1][0]), float(spots[-1][1]))
            self._paint_head(painter, spots[-2], spots[-1])

    def _paint_head(
        self, painter: QPainter, start: npt.NDArray[np.float32], tip: npt.NDArray[np.float32]
    ) -> None:
        along = tip - start
        length = float(np.hypot(*along))
        if length < 1.0:
            return
        along, size = along / length, self._theme.space(1.8)
        across = np.array([-along[1], along[0]])
        back = tip - size * along
        corners = np.array([tip, back + 0.45 * size * across, back - 0.45 * size * across])
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._theme.color("selection"))
        painter.drawPolygon(QPolygonF([QPointF(float(x), float(y)) for x, y in corners]))

    def _paint_legend(self, painter: QPainter, legend: Legend) -> Box:
        """In the lower left corner: names with their colours, or a ramp with its ends."""
        theme = self._theme
        font = theme.prose("small")
        metrics = QFontMetricsF(font)
        row, pad = metrics.height(), theme.space(0.8)
        painter.setFont(font)
        lines = [name for name, _ in legend.named] or [legend.title]
        ramp = 0.0 if legend.named else float(theme.space(16))
        texts = lines if legend.named else [legend.title, f"{legend.low}   {legend.high}"]
        width = max(ramp, max(metrics.horizontalAdvance(text) for text in texts) + row) + 2 * pad
        height = row * (len(lines) if legend.named else 2.6) + pad
        box = QRectF(0, self.height() - height - 2, width, height)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.color("surface", 215))
        painter.drawRoundedRect(box, 4, 4)
        x, y = box.left() + pad, box.top() + pad / 2
        if legend.named:
            for name, color in legend.named:
                painter.setPen(Qt.PenStyle.NoPen)
                painter.setBrush(QColor(color))
                painter.drawEllipse(QPointF(x + row * 0.3, y + row / 2), row * 0.27, row * 0.27)
                painter.setPen(theme.color("text"))
                painter.drawText(QPointF(x + row * 0.9, y + metrics.ascent()), name)
                y += row
        else:
            painter.setPen(theme.color("text"))
            painter.drawText(QPointF(x, y + metrics.ascent()), legend.title)
            bar = QRectF(x, y + row, width - 2 * pad, row * 0.5)
            gradient = QLinearGradient(bar.topLeft(), bar.topRight())
            for place, color in zip(np.linspace(0, 1, len(legend.ramp)), legend.ramp, strict=True):
                gradient.setColorAt(float(place), QColor(color))
            painter.fillRect(bar, gradient)
            ends = QRectF(x, bar.bottom(), bar.width(), row)
            painter.setPen(theme.color("muted"))
            painter.drawText(ends, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, legend.low)
            painter.drawText(ends, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, legend.high)
        return (box.left(), box.top(), box.right(), box.bottom())

    def _paint_point(self, painter: QPainter, mark: Mark, x: float, y: float) -> None:
        theme = self._theme
        radius = self.mark_radius(mark)
        box = QRectF(x - radius, y - radius, 2 * radius, 2 * radius)
        if mark.pale:
            painter.setOpacity(0.4)
        if mark.emphasis is Emphasis.SELECTED:
            ring = QPen(theme.color("selection"), max(3.0, theme.space(0.55)))
        elif mark.emphasis is Emphasis.HOVERED:
            ring = QPen(theme.color("selection"), max(1.5, theme.space(0.3)))
        else:
            ring = QPen(theme.color("surface"), max(1.5, theme.space(0.25)))
        painter.setPen(ring)
        painter.setBrush(theme.side_color(mark.sides[0]))
        painter.drawEllipse(box)
        if len(mark.sides) > 1:
            # The same token on both sides: half of it in the other colour.
            painter.setBrush(theme.side_color(mark.sides[1]))
            painter.drawChord(box, -90 * 16, 180 * 16)
        painter.setOpacity(1.0)

    def _paint_labels(
        self,
        painter: QPainter,
        labels: list[_Label],
        unnamed: list[tuple[float, float, float]],
        taken: list[Box],
    ) -> None:
        """Write ``labels`` where they cover neither each other nor a point, with a name or without."""
        # Two or three fonts among all labels.
        metrics: dict[str, QFontMetricsF] = {}
        sizes = []
        for label in labels:
            key = label.font.key()
            if key not in metrics:
                metrics[key] = QFontMetricsF(label.font)
            sizes.append((metrics[key].horizontalAdvance(label.text) + 4, metrics[key].height()))
        before = [self._places.get(label.key) for label in labels]
        anchors = [*((label.x, label.y, label.radius) for label in labels), *unnamed]
        gap = self._theme.space(0.6)
        placed = place_labels(anchors, sizes, self.width(), self.height(), gap, taken, before)
        self._places = {labels[spot.index].key: spot.place for spot in placed}
        for spot in placed:
            label = labels[spot.index]
            box = QRectF(spot.left, spot.top, *sizes[spot.index])
            painter.setOpacity(0.45 if label.pale else 1.0)
            if spot.led:
                self._paint_leader(painter, QPointF(label.x, label.y), box)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(self._theme.color("surface", 205))
            painter.drawRoundedRect(box, 3, 3)
            painter.setFont(label.font)
            painter.setPen(label.color)
            painter.drawText(box, Qt.AlignmentFlag.AlignCenter, label.text)
        painter.setOpacity(1.0)

    def _labels(self, spots: list[tuple[Mark, float, float]]) -> list[_Label]:
        """Most important first: what is pointed at, the angle, then the sentence."""
        theme = self._theme
        strong, plain = theme.mono("body", bold=True), theme.mono("small")
        labels = [
            _Label(
                mark.index,
                shorten(mark.label, LONGEST_LABEL),
                x,
                y,
                self.mark_radius(mark),
                strong if mark.emphasis >= Emphasis.HOVERED else plain,
                self._label_color(mark),
                mark.pale,
            )
            for mark, x, y in spots
        ]
        if self._pair is not None and self._pair.text and self._angle_at is not None:
            at = sum(1 for mark, _, _ in spots if mark.emphasis >= Emphasis.HOVERED)
            font, color = theme.mono("title", bold=True), theme.color("selection")
            labels.insert(at, _Label(_ANGLE, self._pair.text, *self._angle_at, 2.0, font, color))
        for trail in self._trails:
            if trail.arrow and self._arrow_at is not None:
                font, color = theme.mono("body", bold=True), theme.color("selection")
                text = shorten(visible_text(trail.arrow), 2 * LONGEST_LABEL)
                labels.insert(0, _Label(_ARROW, text, *self._arrow_at, 4.0, font, color))
        return labels

    def _label_color(self, mark: Mark) -> QColor:
        strong = mark.emphasis >= Emphasis.HOVERED or mark.sides[0] == "vocabulary"
        return self._theme.color("text") if strong else self._theme.side_color(mark.sides[0])

    def _paint_leader(self, painter: QPainter, point: QPointF, box: QRectF) -> None:
        near = QPointF(
            min(max(point.x(), box.left()), box.right()), min(max(point.y(), box.top()), box.bottom())
        )
        painter.setPen(QPen(self._theme.color("muted"), 1.0))
        painter.drawLine(point, near)


def _around(point: QPointF, radius: float) -> Box:
    return (point.x() - radius, point.y() - radius, point.x() + radius, point.y() + radius)


def _hits(box: QRectF, other: Box) -> bool:
    return (
        box.left() < other[2] and other[0] < box.right() and box.top() < other[3] and other[1] < box.bottom()
    )
