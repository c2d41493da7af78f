"""Answers what is asked of many heads at once: side by side, another pooling, all of them in a file."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject

from explorer.app.state import Notice
from explorer.app.worker import Task, Worker
from explorer.core.records import AttentionMap, AttentionOverview, RunSnapshot
from explorer.core.selection import AttentionKind, Place

if TYPE_CHECKING:
    from explorer.app.attention_files import AllFormat
    from explorer.app.state import AppState


class AttentionController(QObject):
    """Part of the controller; lives on the GUI thread. A newer question replaces an older one of its kind."""

    def __init__(self, state: AppState, worker: Worker, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._state = state
        self._worker = worker
        state.marked.places_changed.connect(self._read_marked)
        state.summary_changed.connect(self._read_marked)
        state.run_changed.connect(self._read_marked)
        state.pooling_changed.connect(self._on_pooling_changed)
        state.all_maps_requested.connect(self._on_all_maps_requested)

    def _read_marked(self) -> None:
        run, head = self._state.run, self._state.head
        places = self._state.marked.side_by_side
        if run is None or head is None or not places or self._state.summary != "head":
            return
        run_id, kind = run.run_id, head.kind
        self._worker.submit(
            Task(
                lambda engine, _: engine.attention_maps(run_id, kind, places),
                partial(self._on_marked_read, run, kind, places),
                slot="marked",
            )
        )

    def _on_marked_read(
        self, run: RunSnapshot, kind: AttentionKind, places: tuple[Place, ...], maps: tuple[AttentionMap, ...]
    ) -> None:
        # A run that has moved on since, or to another branch, has been read anew.
        current = run is self._state.run and self._is_current(run.run_id, kind)
        if maps and current and places == self._state.marked.side_by_side:
            self._state.marked.set_maps(run, maps)

    def _on_pooling_changed(self) -> None:
        run, head, pooling = self._state.run, self._state.head, self._state.pooling
        if run is not None and head is not None:
            self._worker.submit(
                Task(
                    lambda engine, _: engine.overview(head.kind, pooling),
                    partial(self._on_pooled, run.run_id),
                    slot="overview",
                )
            )

    def _on_pooled(self, run_id: int, overview: AttentionOverview | None) -> None:
        if overview is not None and self._is_current(run_id, overview.kind):
            self._state.set_overview(overview)

    def _is_current(self, run_id: int, kind: AttentionKind) -> bool:
        run, head = self._state.run, self._state.head
        return run is not None and run.run_id == run_id and head is not None and head.kind == kind

    def _on_all_maps_requested(self, path: Path, fmt: AllFormat) -> None:
        head = self._state.head
        if head is None or self._state.run is None:
            return
        kind = head.kind
        self._worker.submit(
            Task(
                lambda engine, task: engine.write_all_maps(kind, path, fmt, task),
                partial(self._on_all_maps_written, path, kind),
                slot="all maps",
                label=f"Writing all {kind} maps …",
            )
        )

    def _on_all_maps_written(
        self, path: Path, kind: AttentionKind, shape: tuple[int, int, int, int] | None
    ) -> None:
        if shape is not None:
            layers, heads, queries, keys = shape
            said = f"Wrote {path}: {layers} × {heads} {kind} maps of {queries} × {keys}."
            self._state.set_notice(Notice(said, error=False))
