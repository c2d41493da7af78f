"""What is painted over the point cloud: highlighted tokens, labels, vectors, the arc, axis names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

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
from explorer.panels.embedding.point_stamps import PointStamps
from explorer.panels.widgets.piece_text import shorten, visible_text
from explorer.theme import Theme

LONGEST_LABEL = 24
Place = tuple[float, float, float]
_Face = Literal["plain", "strong", "title"]
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


@dataclass(frozen=True, slots=True, eq=False)
class Trail:
    """A line through the scene: a token's way so far, or with ``arrow`` a sum of vectors.

    Attributes
    ----------
    places : numpy.ndarray
        (n, 3) float64, from where it begins to where it ends.
    side : str
        Whose colour it has.
    arrow : str
        What is written at its tip, if it has one.
    """

    places: npt.NDArray[np.float64]
    side: str
    arrow: str = ""


@dataclass(frozen=True, slots=True)
class AxisName:
    """What stands at the end of an axis."""

    end: tuple[float, float, float]
    text: str


@dataclass(frozen=True, slots=True)
class _Label:
    """What is written beside a mark of ``side``, or without one at the arc or the arrow."""

    key: int
    text: str
    face: _Face
    side: str = ""
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
        self._stamps = PointStamps(theme)
        self.set_marks(())
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
        count, look = len(self._marks), self._stamps.look
        self._rows = np.fromiter((mark.index for mark in self._marks), np.intp, count)
        self._emphasis = np.fromiter((mark.emphasis for mark in self._marks), np.intp, count)
        self._looks = np.fromiter(
            (look(mark.sides, mark.emphasis, pale=mark.pale) for mark in self._marks), np.intp, count
        )
        self._of_sentence = np.fromiter((mark.sides[0] != "vocabulary" for mark in self._marks), bool, count)
        self._elsewhere = [(i, mark.at) for i, mark in enumerate(self._marks) if mark.at is not None]
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
        own = self._points[:, self._rows].astype(np.float64)
        for column, place in self._elsewhere:
            own[:, column] = place
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

    @property
    def reach(self) -> float:
        """Radius of the largest mark, in pixels; 0 without any."""
        return float(self._stamps.radii()[self._emphasis].max(initial=0.0))

    def project(self, points: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Pixels and depth of (3, n) points, as they are drawn now."""
        return self._camera.project(points, self.width(), self.height())

    def paintEvent(self, event: QPaintEvent) -> None:
        """Axes' names, trails, points, the pair's vectors, what is pointed at, labels, in this order."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        seen = self.project(self.places())
        taken = self._paint_axis_names(painter)
        self._angle_at = self._arrow_at = None
        if self._legend is not None:
            taken.append(self._paint_legend(painter, self._legend))
        self._paint_trails(painter)
        x, y, depth = seen
        # A label beside the edge for a point beyond it would look like a point of its own. What is behind
        # the eye is NaN, and so nowhere; a point's rim is far narrower than the point.
        inside = self._within(np.rint(x), np.rint(y), 0.5)
        visible = self._within(x, y, 2.0 * self.reach)
        # The strongest last, so that nothing covers it; of equally strong ones the nearest.
        order = np.lexsort((-depth, self._emphasis))
        order = order[visible[order]]
        weak, strong = np.split(order, [np.searchsorted(self._emphasis[order], Emphasis.HOVERED)])
        self._stamps.stamp(painter, self._looks[weak], x[weak], y[weak])
        # In a long run the points would hide the vectors that are being measured.
        if self._pair is not None:
            taken += self._paint_pair(painter, self._pair)
        self._stamps.stamp(painter, self._looks[strong], x[strong], y[strong])
        spots = np.flatnonzero(inside)
        # Where not all can be named, those that a tool asked for come before the sentence's.
        later = self._of_sentence[spots] & (len(spots) > MOST_LABELS)
        spots = spots[np.lexsort((later, -self._emphasis[spots]))]
        anchors = np.stack([x[spots], y[spots], self._stamps.radii()[self._emphasis[spots]]], axis=1)
        self._paint_labels(painter, spots, anchors.astype(np.float64), taken)

    def _within(
        self, x: npt.NDArray[np.float32], y: npt.NDArray[np.float32], margin: float
    ) -> npt.NDArray[np.bool_]:
        """Which pixels are in the picture, or no farther than ``margin`` from its outermost ones."""
        right, bottom = self.width() - 1 + margin, self.height() - 1 + margin
        with np.errstate(invalid="ignore"):
            return np.asarray((x > -margin) & (x < right) & (y > -margin) & (y < bottom))

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

    def _paint_trails(self, painter: QPainter) -> None:
        theme = self._theme
        painter.setBrush(Qt.BrushStyle.NoBrush)
        way = QPen(theme.color("muted"), max(1.5, theme.space(0.3)))
        # One projection of all: a long run has a trail for each of its tokens.
        ends = np.cumsum([0, *(len(trail.places) for trail in self._trails)]).tolist()
        places = np.concatenate([np.empty((0, 3)), *(trail.places for trail in self._trails)])
        projected = self.project(places.T)[:2].T
        for trail, (start, end) in zip(self._trails, pairwise(ends), strict=True):
            spots = projected[start:end]
            if len(spots) < 2 or not np.isfinite(spots).all():
                continue
            line = QPolygonF([QPointF(x, y) for x, y in spots.tolist()])
            if trail.arrow:
                painter.setPen(QPen(theme.color("selection"), max(1.5, theme.space(0.45))))
                painter.drawPolyline(line)
                self._arrow_at = (float(spots[-1][0]), float(spots[-1][1]))
                self._paint_head(painter, spots[-2], spots[-1])
                painter.setBrush(Qt.BrushStyle.NoBrush)
                continue
            color = theme.side_color(trail.side)
            color.setAlpha(130)
            way.setColor(color)
            painter.setPen(way)
            painter.drawPolyline(line)

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

    def _paint_labels(
        self,
        painter: QPainter,
        spots: npt.NDArray[np.intp],
        anchors: npt.NDArray[np.float64],
        taken: list[Box],
    ) -> None:
        """Write names where they cover neither each other nor a point, with a name or without.

        What is pointed at is named even where that covers points.

        ``spots`` are places among the marks, most important first; ``anchors`` (n, 3) their x, y, radius.
        """
        labels = [self._name(self._marks[i]) for i in spots[:MOST_LABELS].tolist()]
        named = anchors[:MOST_LABELS]
        strong = must = int(np.count_nonzero(self._emphasis[spots[:MOST_LABELS]] >= Emphasis.HOVERED))
        for label, at, place in self._captions(strong):
            labels.insert(at, label)
            named = np.insert(named, at, place, axis=0)
            must += 1
        fonts = self._faces()
        metrics = {face: QFontMetricsF(font) for face, font in fonts.items()}
        sizes = [
            (metrics[label.face].horizontalAdvance(label.text) + 4, metrics[label.face].height())
            for label in labels
        ]
        anchors = np.concatenate([named, anchors[MOST_LABELS:]])
        places = [self._places.get(label.key) for label in labels]
        gap = self._theme.space(0.6)
        placed = place_labels(anchors, sizes, self.width(), self.height(), gap, taken, places, must)
        self._places = {labels[spot.index].key: spot.place for spot in placed}
        ground = self._theme.color("surface", 205)
        for spot in placed:
            label = labels[spot.index]
            box = QRectF(spot.left, spot.top, *sizes[spot.index])
            painter.setOpacity(0.45 if label.pale else 1.0)
            if spot.led:
                self._paint_leader(painter, QPointF(*anchors[spot.index, :2].tolist()), box)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(ground)
            painter.drawRoundedRect(box, 3, 3)
            painter.setFont(fonts[label.face])
            painter.setPen(self._label_color(label))
            painter.drawText(box, Qt.AlignmentFlag.AlignCenter, label.text)
        painter.setOpacity(1.0)

    def _faces(self) -> dict[_Face, QFont]:
        theme = self._theme
        return {
            "plain": theme.mono("small"),
            "strong": theme.mono("body", bold=True),
            "title": theme.mono("title", bold=True),
        }

    def _name(self, mark: Mark) -> _Label:
        strong = mark.emphasis >= Emphasis.HOVERED
        text = shorten(mark.label, LONGEST_LABEL)
        return _Label(mark.index, text, "strong" if strong else "plain", mark.sides[0], mark.pale)

    def _captions(self, strong: int) -> Iterator[tuple[_Label, int, Place]]:
        """What stands at an arc or an arrow, its place among the labels, and its anchor.

        What is pointed at, which are the first ``strong`` labels, comes before the angle.
        """
        if self._pair is not None and self._pair.text and self._angle_at is not None:
            yield _Label(_ANGLE, self._pair.text, "title"), strong, (*self._angle_at, 2.0)
        for trail in self._trails:
            if trail.arrow and self._arrow_at is not None:
                text = shorten(visible_text(trail.arrow), 2 * LONGEST_LABEL)
                yield _Label(_ARROW, text, "strong"), 0, (*self._arrow_at, 4.0)

    def _label_color(self, label: _Label) -> QColor:
        if not label.side:
            return self._theme.color("selection")
        strong = label.face == "strong" or label.side == "vocabulary"
        return self._theme.color("text") if strong else self._theme.side_color(label.side)

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
