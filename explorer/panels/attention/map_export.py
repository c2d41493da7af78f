"""The map on screen as a file: picture, drawing, or numbers."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QBuffer, QByteArray, QIODevice, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QFontMetricsF, QImage, QPainter
from PySide6.QtSvg import QSvgGenerator

from explorer.core.records import AttentionMap
from explorer.panels.attention.map_content import AxisToken, MapContent
from explorer.panels.attention.map_footer import ScaleBar
from explorer.panels.attention.map_view import MapView

_PIXEL_RATIO = 2


@dataclass(frozen=True, slots=True)
class MapPicture:
    """What goes into a picture: the facts on top, the map as it is on screen, caption and scale below."""

    view: MapView
    scale_bar: ScaleBar
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

    def _line(self) -> float:
        return QFontMetricsF(self.view.theme.prose("body", bold=True)).height() + self.view.theme.space(1)

    def _caption_width(self) -> float:
        return self.view.width() - self.scale_bar.sizeHint().width() - self.view.theme.space(2)

    def _caption_height(self) -> float:
        metrics = QFontMetricsF(self.view.theme.prose("small"))
        wanted = metrics.boundingRect(
            QRectF(0, 0, self._caption_width(), 1e4), Qt.TextFlag.TextWordWrap, self.caption
        )
        return max(wanted.height(), self.scale_bar.sizeHint().height())

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
    for name, tokens in (("query", content.rows), ("key", content.columns)):
        arrays |= {f"{name}_{field}": values for field, values in _axis_arrays(tokens).items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _axis_arrays(tokens: tuple[AxisToken, ...]) -> dict[str, np.ndarray]:
    return {
        "pieces": np.array([token.piece for token in tokens], dtype=np.str_),
        "ids": np.array([token.token_id for token in tokens], dtype=np.int64),
        "sides": np.array([token.ref.side for token in tokens], dtype=np.str_),
        "indices": np.array([token.ref.index for token in tokens], dtype=np.int64),
    }
