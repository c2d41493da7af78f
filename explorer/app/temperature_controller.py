"""Has the worker generate the same text at several temperatures, a slice at a time."""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject

from explorer.app.worker import Task, Worker
from explorer.core.temperature_grid import GridRow, plan_grid

if TYPE_CHECKING:
    from explorer.app.state import AppState

# Its tasks go on while a run is given up and begun anew.
GRID_SLOT = "temperatures"
_SEEDS = 100_000


class TemperatureController(QObject):
    """Part of the controller; lives on the GUI thread. A grid ends when text, languages or model change."""

    def __init__(self, state: AppState, worker: Worker, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._state = state
        self._worker = worker
        self._grid_id = 0
        state.temperatures.grid_requested.connect(self._on_grid_requested)
        state.temperatures.stop_requested.connect(self.stop)
        state.source_text_changed.connect(self.stop)
        state.languages.pair_changed.connect(self.stop)
        state.model_requested.connect(self.stop)
        state.model_changed.connect(self._on_model_changed)

    def stop(self) -> None:
        """Give the rest of the grid up; what came out so far stays."""
        if self._state.temperatures.working:
            self._grid_id += 1
            self._worker.cancel_slot(GRID_SLOT)
            self._state.temperatures.set_working(False)

    def _on_model_changed(self) -> None:
        self.stop()
        self._state.temperatures.set_grid(None)

    def _on_grid_requested(self, temperatures: tuple[float, ...]) -> None:
        self.stop()
        params = self._state.sampling
        if params.seed is None:
            # One for all rows, and a short one: it is shown, and a row can be had again by it.
            params = params.with_changes(seed=random.randrange(_SEEDS))
        self._grid_id += 1
        state = self._state
        grid = plan_grid(state.source_text, params, temperatures, state.languages.pair)
        state.temperatures.set_grid(grid)
        self._state.temperatures.set_working(True)
        self._go_on()

    def _go_on(self) -> None:
        grid, grid_id = self._state.temperatures.grid, self._grid_id
        index = None if grid is None else grid.current
        if grid is None or index is None:
            self._state.temperatures.set_working(False)
            return
        params, text, languages = grid.rows[index].params, grid.source_text, grid.languages
        self._worker.submit(
            Task(
                lambda engine, task: engine.temperature_row(grid_id, text, params, task, languages),
                partial(self._on_row_updated, grid_id, index),
                slot=GRID_SLOT,
                label=f"Generating at temperature {params.temperature:g}, {index + 1} of {len(grid.rows)} …",
                failed=lambda _: self.stop(),
            )
        )

    def _on_row_updated(self, grid_id: int, index: int, row: GridRow) -> None:
        grid = self._state.temperatures.grid
        if grid_id == self._grid_id and grid is not None:
            self._state.temperatures.set_grid(grid.with_row(index, row))
            self._go_on()
