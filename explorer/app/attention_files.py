"""Every map of one kind of attention as a file, written layer by layer on the worker's thread."""

from __future__ import annotations

import csv
import io
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

import numpy as np

from explorer.core.selection import AttentionKind, TokenRef

if TYPE_CHECKING:
    from explorer.core.records import RunSnapshot
    from explorer.model.run import Run

AllFormat = Literal["npz", "csv"]


class ExportCancelledError(Exception):
    """Nobody wants the file any more; nothing was written."""


def write_all_maps(
    run: Run,
    kind: AttentionKind,
    path: Path,
    fmt: AllFormat,
    unwanted: Callable[[], bool] = lambda: False,
) -> tuple[int, int, int, int]:
    """Write every head's whole map; a reader sees all of the file or none.

    ``npz``: ``weights`` (layer, head, query, key) float32; ``query_…`` and ``key_…``: ``pieces``,
    ``ids``, ``sides``, ``indices``; ``kind``, ``model``, ``text``. ``csv``: one line per weight, with nine
    significant digits, which give back the very float32.

    One layer is held at a time: O(layers * heads * query * key) time, a layer of memory.

    Parameters
    ----------
    run : Run
        Whose attention.
    kind : AttentionKind
        Which attention.
    path : Path
        Where to; its folder must be there.
    fmt : str
        ``npz`` or ``csv``.
    unwanted : callable
        Looked at before every layer.

    Returns
    -------
    tuple of int
        (layers, heads, queries, keys) that were written.

    Raises
    ------
    ExportCancelledError
        ``unwanted`` said so.
    OSError
        The file cannot be written.
    """
    info = run.lm.info
    shape = (info.layers[kind], *run.attention(kind, 0).shape)

    def layers() -> Iterator[np.ndarray]:
        for layer in range(shape[0]):
            if unwanted():
                raise ExportCancelledError
            yield run.attention(kind, layer)

    snapshot = run.snapshot()
    axes = dict(zip(("query", "key"), snapshot.attention_axes(kind), strict=True))
    with _whole_file(path) as file:
        if fmt == "npz":
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                with archive.open("weights.npy", "w", force_zip64=True) as member:
                    _write_header(member, shape)
                    for weights in layers():
                        member.write(np.ascontiguousarray(weights, dtype=np.float32).tobytes())
                facts = {"kind": kind, "model": info.name, "text": snapshot.source.text}
                arrays: dict[str, np.ndarray] = {name: np.array(value) for name, value in facts.items()}
                for name, refs in axes.items():
                    arrays |= {f"{name}_{field}": values for field, values in _axis(snapshot, refs).items()}
                for name, values in arrays.items():
                    with archive.open(f"{name}.npy", "w") as member:
                        np.lib.format.write_array(member, values, allow_pickle=False)
        else:
            text = io.TextIOWrapper(file, encoding="utf-8", newline="")
            writer = csv.writer(text)
            writer.writerow(["layer", "head", "query", "query piece", "key", "key piece", "weight"])
            pieces = {name: _axis(snapshot, refs)["pieces"].tolist() for name, refs in axes.items()}
            for layer, heads in enumerate(layers()):
                for head, rows in enumerate(heads):
                    writer.writerows(
                        (layer, head, query, pieces["query"][query], key, pieces["key"][key], f"{weight:.9g}")
                        for query, row in enumerate(rows.tolist())
                        for key, weight in enumerate(row)
                    )
            text.flush()
            text.detach()
    return shape


@contextmanager
def _whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file that is in its place when all of it has been written."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _write_header(member: object, shape: tuple[int, ...]) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(member, header)  # type: ignore[arg-type]


def _axis(snapshot: RunSnapshot, refs: tuple[TokenRef, ...]) -> dict[str, np.ndarray]:
    tokens = [snapshot.token(ref) for ref in refs]
    return {
        "pieces": np.array(["" if token is None else token.piece for token in tokens], dtype=np.str_),
        "ids": np.array([-1 if token is None else token.id for token in tokens], dtype=np.int64),
        "sides": np.array([ref.side for ref in refs], dtype=np.str_),
        "indices": np.array([ref.index for ref in refs], dtype=np.int64),
    }
