"""The map on screen as a file: picture, drawing, or numbers."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PySide6.QtCore import QBuffer, QByteArray, QIODevice, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QFontMetricsF, QImage, QPainter
from PySide6.QtSvg import QSvgGenerator

from explorer.core.records import AttentionMap
from explorer.panels.attention.compared_maps import ComparedMap
from explorer.panels.attention.map_content import AxisToken, MapContent
from explorer.panels.attention.map_footer import ScaleBar
from explorer.panels.attention.weight_reading import WeightContent
from explorer.theme import Theme

_PIXEL_RATIO = 2


class Picturable(Protocol):
    """A widget that draws itself without the pointer's traces."""

    theme: Theme

    def width(self) -> int:
        """In pixels."""

    def height(self) -> int:
        """In pixels."""

    def render_picture(self, painter: QPainter, *, vector: bool = False) -> None:
        """Draw what is on screen; ``vector`` where the device has no pixels."""


@dataclass(frozen=True, slots=True)
class MapPicture:
    """What goes into a picture: the facts on top, the view as it is on screen, caption and scale below."""

    view: Picturable
    scale_bar: ScaleBar | None
    facts: str
    caption: str

    def png(self) -> bytes:
        """The picture at twice the screen's pixels."""
        size = self._size()
        image = QImage(size * _PIXEL_RATIO, QImage.Format.Format_RGB32)
        image.setDevicePixelRatio(_PIXEL_RATIO)
        with QPainter(image) as painter:
            self._paint(painter, size, vector=False)
        content = QByteArray()
        buffer = QBuffer(content)
        buffer.open(QIODevice.OpenModeFlag.WriteOnly)
        # PySide's stub asks for bytes where Qt takes, and needs, a str.
        image.save(buffer, "PNG")  # type: ignore[call-overload]
        return bytes(content.data())

    def svg(self) -> bytes:
        """The same as a drawing; texts stay texts, and up to 5,000 cells in view stay rectangles."""
        size = self._size()
        content = QByteArray()
        buffer = QBuffer(content)
        generator = QSvgGenerator()
        generator.setOutputDevice(buffer)
        generator.setSize(size)
        generator.setViewBox(QRect(0, 0, size.width(), size.height()))
        generator.setTitle(self.facts)
        with QPainter(generator) as painter:
            self._paint(painter, size, vector=True)
        return bytes(content.data())

    def _size(self) -> QSize:
        theme = self.view.theme
        margin, line = theme.space(2), self._line()
        width = self.view.width() + 2 * margin
        return QSize(width, round(self.view.height() + 2 * margin + line + self._caption_height() + margin))

    def _line(self) -> int:
        # Whole pixels, so that the view's edges stay as sharp as on screen.
        height = QFontMetricsF(self.view.theme.prose("body", bold=True)).height()
        return round(height + self.view.theme.space(1))

    def _caption_width(self) -> float:
        scale = 0 if self.scale_bar is None else self.scale_bar.sizeHint().width() + self.view.theme.space(2)
        return float(self.view.width() - scale)

    def _caption_height(self) -> float:
        metrics = QFontMetricsF(self.view.theme.prose("small"))
        wanted = metrics.boundingRect(
            QRectF(0, 0, self._caption_width(), 1e4), Qt.TextFlag.TextWordWrap, self.caption
        )
        return max(wanted.height(), 0 if self.scale_bar is None else self.scale_bar.sizeHint().height())

    def _paint(self, painter: QPainter, size: QSize, *, vector: bool) -> None:
        theme = self.view.theme
        margin, line = theme.space(2), self._line()
        painter.fillRect(QRect(0, 0, size.width(), size.height()), theme.color("surface"))
        painter.setPen(theme.color("text"))
        painter.setFont(theme.prose("body", bold=True))
        where = QRectF(margin, margin, self.view.width(), line)
        painter.drawText(where, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop, self.facts)
        painter.save()
        painter.translate(margin, margin + line)
        self.view.render_picture(painter, vector=vector)
        painter.restore()
        below = 2 * margin + line + self.view.height()
        painter.setPen(theme.color("muted"))
        painter.setFont(theme.prose("small"))
        where = QRectF(margin, below, self._caption_width(), self._caption_height())
        painter.drawText(where, Qt.TextFlag.TextWordWrap, self.caption)
        if self.scale_bar is None:
            return
        painter.translate(size.width() - margin - self.scale_bar.sizeHint().width(), below)
        self.scale_bar.draw(painter, QRectF(0, 0, *self.scale_bar.sizeHint().toTuple()))


def map_csv(content: MapContent) -> bytes:
    """The weights as a table: keys' pieces in the first line, each query's piece before its row.

    Nine significant digits, which give back the very float32. About 0.5 s for 1,024 x 1,024.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["query \\ key", *(token.piece for token in content.columns)])
    for token, row in zip(content.rows, content.weights, strict=True):
        writer.writerow([token.piece, *(f"{weight:.9g}" for weight in row.tolist())])
    return text.getvalue().encode("utf-8")


def map_npz(content: MapContent, attention: AttentionMap, caption: str) -> bytes:
    """The weights and all that is needed to read them.

    ``weights`` (query, key) float32; ``query_…`` and ``key_…``: ``pieces``, ``ids``, ``sides`` and
    ``indices``; ``hidden_mass`` (query,) float64; ``kind``, ``layer``, ``head`` (-1 for a summary of
    many), ``heads`` (n, 2) the (layer, head) that a mean of chosen ones is of, ``title``; ``caption``,
    which says what was left out.
    """
    head = attention.head
    arrays: dict[str, np.ndarray] = {
        "weights": content.weights,
        "hidden_mass": content.hidden_mass,
        "kind": np.array(head.kind),
        "layer": np.array(head.layer),
        "head": np.array(head.head if attention.summary == "head" else -1),
        "heads": np.array(attention.places, dtype=np.int64).reshape(-1, 2),
        "title": np.array(attention.title),
        "caption": np.array(caption),
    }
    return _npz(arrays | _named_axes(content.rows, content.columns))


def compared_csv(maps: Sequence[ComparedMap]) -> bytes:
    """Heads side by side as one table: layer and head stand before each query's row."""
    text = io.StringIO()
    writer = csv.writer(text)
    columns = maps[0].content.columns
    writer.writerow(["layer", "head", "query \\ key", *(token.piece for token in columns)])
    for shown in maps:
        for token, row in zip(shown.content.rows, shown.content.weights, strict=True):
            writer.writerow([*shown.place, token.piece, *(f"{weight:.9g}" for weight in row.tolist())])
    return text.getvalue().encode("utf-8")


def compared_npz(kind: str, maps: Sequence[ComparedMap], caption: str) -> bytes:
    """Heads side by side: ``weights`` (n, query, key) and ``heads`` (n, 2), else as `map_npz`."""
    first = maps[0].content
    arrays: dict[str, np.ndarray] = {
        "weights": np.stack([shown.content.weights for shown in maps]),
        "hidden_mass": np.stack([shown.content.hidden_mass for shown in maps]),
        "heads": np.array([shown.place for shown in maps], dtype=np.int64),
        "kind": np.array(kind),
        "caption": np.array(caption),
    }
    return _npz(arrays | _named_axes(first.rows, first.columns))


def weight_csv(content: WeightContent) -> bytes:
    """How a weight came about, as a table of its row: each key with its score and weight."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["key", "key piece", "score", "weight", "selected"])
    cell = content.cell
    for index, token in enumerate(content.keys):
        numbers = (f"{cell.row_scores[index]:.9g}", f"{cell.row_weights[index]:.9g}")
        writer.writerow([index, token.piece, *numbers, int(index == cell.column)])
    return text.getvalue().encode("utf-8")


def weight_npz(content: WeightContent) -> bytes:
    """All that is drawn of how a weight came about; ``softcap`` is NaN where the family has none."""
    cell = content.cell
    softcap = np.nan if cell.softcap is None else cell.softcap
    arrays: dict[str, np.ndarray] = {
        name: np.array(getattr(cell, name))
        for name in (
            "query",
            "key",
            "products",
            "raw_score",
            "scaling",
            "bias",
            "masked",
            "row_scores",
            "row_weights",
            "values",
            "output",
            "row",
            "column",
        )
    }
    head = {"kind": cell.head.kind, "layer": cell.head.layer, "head": cell.head.head, "softcap": softcap}
    arrays |= {name: np.array(value) for name, value in head.items()}
    return _npz(arrays | _named_axes((content.query,), content.keys))


def _named_axes(rows: Sequence[AxisToken], columns: Sequence[AxisToken]) -> dict[str, np.ndarray]:
    return {
        f"{name}_{field}": values
        for name, tokens in (("query", rows), ("key", columns))
        for field, values in _axis_arrays(tokens).items()
    }


def _npz(arrays: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _axis_arrays(tokens: Sequence[AxisToken]) -> dict[str, np.ndarray]:
    return {
        "pieces": np.array([token.piece for token in tokens], dtype=np.str_),
        "ids": np.array([token.token_id for token in tokens], dtype=np.int64),
        "sides": np.array([token.ref.side for token in tokens], dtype=np.str_),
        "indices": np.array([token.ref.index for token in tokens], dtype=np.int64),
    }
