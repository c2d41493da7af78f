"""The embedding panel's numbers and picture as files. Every file appears whole or not at all."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PySide6.QtCore import QBuffer, QByteArray, QIODevice
from PySide6.QtWidgets import QWidget

from explorer.app.settings import write_atomically
from explorer.core.records import TokenCloud
from explorer.core.vectors import Neighbourhood


def save_picture(widget: QWidget, path: str | Path) -> None:
    """Write what a widget shows as a PNG."""
    content = QByteArray()
    buffer = QBuffer(content)
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    if not widget.grab().save(buffer, "PNG"):
        raise OSError("the picture could not be encoded as PNG")
    write_atomically(Path(path), bytes(content.data()))


def save_cloud(cloud: TokenCloud, path: str | Path) -> None:
    """Write coordinates and lengths of the whole vocabulary, as NPZ or CSV by the name's ending."""
    target = Path(path)
    if target.suffix.lower() == ".npz":
        archive = io.BytesIO()
        np.savez_compressed(
            archive,
            coordinates=cloud.coordinates,
            explained_variance_ratio=cloud.explained_variance_ratio,
            norms=cloud.norms,
            origin=cloud.origin,
            pieces=np.array(cloud.pieces),
        )
        write_atomically(target, archive.getvalue())
        return
    axes = [f"pc{i + 1}" for i in range(cloud.coordinates.shape[1])]
    rows = (
        [token_id, piece, repr(float(norm)), *(repr(float(x)) for x in place)]
        for token_id, (piece, norm, place) in enumerate(
            zip(cloud.pieces, cloud.norms, cloud.coordinates, strict=True)
        )
    )
    _save_table(target, ["token_id", "piece", "norm", *axes], rows)


def save_neighbours(around: Neighbourhood, pieces: Sequence[str], path: str | Path) -> None:
    """Write both rankings of neighbours as CSV."""
    rows = [
        [metric, rank, token_id, pieces[token_id], repr(value)]
        for metric, ranked in (("cosine", around.by_cosine), ("euclidean", around.by_distance))
        for rank, (token_id, value) in enumerate(ranked)
    ]
    _save_table(Path(path), ["metric", "rank", "token_id", "piece", "value"], rows)


def _save_table(path: Path, header: list[str], rows: object) -> None:
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(header)
    table.writerows(rows)  # type: ignore[arg-type]
    write_atomically(path, text.getvalue().encode())
