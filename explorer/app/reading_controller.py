"""Reads what a person looks at: a head's map, the thumbnails of its kind, a weight, a pair."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject

from explorer.app.worker import Task, Worker
from explorer.core.records import AttentionMap, AttentionOverview, CellReading, PairReading
from explorer.core.selection import TokenRef

if TYPE_CHECKING:
    from explorer.app.controller import Controller
    from explorer.app.engine import RunUpdate
    from explorer.app.state import AppState


class ReadingController(QObject):
    """Part of the controller; lives on the GUI thread. What belongs to another run is dropped."""

    def __init__(self, state: AppState, worker: Worker, controller: Controller) -> None:
        super().__init__(controller)
        self._state = state
        self._worker = worker
        self._controller = controller
        state.head_changed.connect(self._on_head_changed)
        state.summary_changed.connect(self._on_head_changed)
        state.marked.places_changed.connect(self._on_marked_changed)
        state.selection_changed.connect(self._on_selection_changed)
        state.vectors.mode_changed.connect(self._on_vector_mode_changed)

    def show(self, update: RunUpdate) -> None:
        """The run moved: show what came along of it, and read what did not."""
        head = self._state.head
        if update.overview is not None and head is not None and update.overview.kind == head.kind:
            self._state.set_overview(update.overview)
        if update.attention is not None and self._is_wanted(update.attention):
            self._state.set_attention(update.attention)
        elif head is not None:
            # Without them in the update, the thumbnails on show are those of where the run stood before.
            self._read_attention(overview=update.overview is None)
        self._read_cell()

    def _on_head_changed(self) -> None:
        if self._state.run is not None and self._state.head is not None:
            self._read_attention()
        self._read_cell()

    def _on_marked_changed(self) -> None:
        if self._state.summary == "chosen":
            self._on_head_changed()

    def _read_attention(self, *, overview: bool = False) -> None:
        head, summary = self._state.head, self._state.summary
        run_id = self._controller.run_id
        places = self._state.marked.places if summary == "chosen" else ()
        pooling = self._state.pooling
        assert head is not None
        self._worker.submit(
            Task(
                lambda engine, _: engine.attention(head, summary, places),
                partial(self._on_attention_read, run_id),
                slot="attention",
            )
        )
        shown = self._state.overview
        if overview or shown is None or shown.kind != head.kind:
            self._worker.submit(
                Task(
                    lambda engine, _: engine.overview(head.kind, pooling),
                    partial(self._on_overview_read, run_id),
                    slot="overview",
                )
            )

    def _on_attention_read(self, run_id: int, attention: AttentionMap | None) -> None:
        if attention is not None and run_id == self._controller.run_id and self._is_wanted(attention):
            self._state.set_attention(attention)

    def _is_wanted(self, attention: AttentionMap) -> bool:
        summary = self._state.summary
        places = tuple(sorted(self._state.marked.places)) if summary == "chosen" else ()
        return (attention.head, attention.summary, attention.places) == (self._state.head, summary, places)

    def _on_overview_read(self, run_id: int, overview: AttentionOverview | None) -> None:
        if overview is not None and run_id == self._controller.run_id:
            self._state.set_overview(overview)

    def _on_selection_changed(self) -> None:
        ids = [self._state.token_id(ref) for ref in self._state.selection.ends]
        if len(ids) == 2 and None not in ids and self._state.model is not None:
            first, second = ids
            assert first is not None
            assert second is not None
            mode = self._state.vectors.mode
            self._worker.submit(
                Task(lambda engine, _: engine.pair(first, second, mode), self._on_pair_read, slot="pair")
            )
        self._read_cell()

    def _on_vector_mode_changed(self) -> None:
        # A reading in the old mode must not stand under the new one's name.
        self._state.set_pair(None)
        self._on_selection_changed()

    def _read_cell(self) -> None:
        """Look into the weight that the selected pair stands for in the opened head, if it does."""
        run, head, refs = self._state.run, self._state.head, self._state.selection.ends
        cell = None if run is None or head is None else run.attention_cell(head.kind, refs)
        if (
            cell is None
            or head is None
            or run is None
            or run.run_id != self._controller.run_id
            or self._state.stale
        ):
            self._state.set_cell(None)
            return
        self._worker.submit(
            Task(
                lambda engine, _: engine.inspect(head, cell),
                partial(self._on_cell_read, self._controller.run_id, refs),
                slot="cell",
            )
        )

    def _on_cell_read(self, run_id: int, refs: tuple[TokenRef, ...], cell: CellReading | None) -> None:
        current = run_id == self._controller.run_id and refs == self._state.selection.ends
        if current and cell is not None and cell.head == self._state.head:
            self._state.set_cell(cell)

    def _on_pair_read(self, pair: PairReading) -> None:
        ids = tuple(self._state.token_id(ref) for ref in self._state.selection.ends)
        if pair.token_ids == ids:
            self._state.set_pair(pair)
