"""Reads the whole maps of heads that stand side by side, by way of the one worker."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject

from explorer.app.worker import Task, Worker
from explorer.core.records import AttentionMap
from explorer.core.selection import AttentionKind, Place

if TYPE_CHECKING:
    from explorer.app.state import AppState


class MarkedController(QObject):
    """Part of the controller; lives on the GUI thread. A newer reading replaces an older one."""

    def __init__(self, state: AppState, worker: Worker, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._state = state
        self._worker = worker
        state.marked.places_changed.connect(self._read)
        state.summary_changed.connect(self._read)
        state.run_changed.connect(self._read)

    def _read(self) -> None:
        run, head = self._state.run, self._state.head
        places = self._state.marked.side_by_side
        if run is None or head is None or not places or self._state.summary != "head":
            return
        run_id, kind = run.run_id, head.kind
        self._worker.submit(
            Task(
                lambda engine, _: engine.attention_maps(run_id, kind, places),
                partial(self._on_read, run_id, kind, places),
                slot="marked",
            )
        )

    def _on_read(
        self, run_id: int, kind: AttentionKind, places: tuple[Place, ...], maps: tuple[AttentionMap, ...]
    ) -> None:
        run, head = self._state.run, self._state.head
        current = run is not None and run.run_id == run_id and head is not None and head.kind == kind
        if maps and current and places == self._state.marked.side_by_side:
            self._state.marked.set_maps(run_id, maps)
