"""Answers what is asked of token vectors, by way of the one worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject

from explorer.app.worker import Task, Worker
from explorer.core.vectors import CosineMatrix, Neighbourhood, TokenPath

if TYPE_CHECKING:
    from explorer.app.state import AppState


class VectorController(QObject):
    """Part of the controller; lives on the GUI thread. A newer question replaces an older one of its kind."""

    def __init__(self, state: AppState, worker: Worker, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._state = state
        self._worker = worker
        state.selection_changed.connect(self._on_selection_changed)
        state.vectors.arithmetic_requested.connect(self._on_arithmetic_requested)
        state.vectors.matrix_requested.connect(self._on_matrix_requested)
        state.vectors.path_requested.connect(self._on_path_requested)
        state.vectors.positions_requested.connect(self._on_positions_requested)

    def _on_selection_changed(self) -> None:
        vectors, token_id = self._state.vectors, self._selected_id()
        if token_id is None:
            vectors.set_neighbourhood(None)
        elif vectors.neighbourhood is None or vectors.neighbourhood.token_id != token_id:
            vectors.set_neighbourhood(None)
            self._worker.submit(
                Task(
                    lambda engine, _: engine.neighbourhood(token_id),
                    self._on_neighbourhood_read,
                    slot="neighbourhood",
                )
            )

    def _selected_id(self) -> int | None:
        token = self._state.selection.token
        return None if token is None or self._state.model is None else self._state.token_id(token)

    def _on_neighbourhood_read(self, neighbourhood: Neighbourhood) -> None:
        if neighbourhood.token_id == self._selected_id():
            self._state.vectors.set_neighbourhood(neighbourhood)

    def _on_arithmetic_requested(self, expression: str) -> None:
        if not expression.strip() or self._state.model is None:
            self._state.vectors.set_arithmetic(None)
            return
        self._worker.submit(
            Task(
                lambda engine, _: engine.arithmetic(expression),
                self._state.vectors.set_arithmetic,
                slot="arithmetic",
            )
        )

    def _on_matrix_requested(self, ids: tuple[int, ...]) -> None:
        if self._state.model is None or not ids:
            self._state.vectors.set_matrix(None)
            return
        self._worker.submit(
            Task(lambda engine, _: engine.cosine_matrix(ids), self._on_matrix_read, slot="matrix")
        )

    def _on_matrix_read(self, matrix: CosineMatrix) -> None:
        self._state.vectors.set_matrix(matrix)

    def _on_path_requested(self) -> None:
        run = self._state.run
        if run is not None:
            self._worker.submit(
                Task(
                    lambda engine, _: engine.token_path(),
                    self._on_path_read,
                    slot="path",
                    label="Reading the vectors after every layer …",
                )
            )

    def _on_path_read(self, path: TokenPath | None) -> None:
        run = self._state.run
        if path is not None and run is not None and path.run_id == run.run_id:
            self._state.vectors.set_path(path)

    def _on_positions_requested(self) -> None:
        if self._state.model is not None:
            self._worker.submit(
                Task(
                    lambda engine, _: engine.positions(), self._state.vectors.set_positions, slot="positions"
                )
            )
