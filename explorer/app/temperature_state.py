"""The part of the shared state that is about the same text at several temperatures."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from explorer.core.temperature_grid import TemperatureGrid


class TemperatureState(QObject):
    """Held by `AppState` as ``temperatures``; the same rules: set on the GUI thread, a signal per field."""

    grid_changed = Signal()
    working_changed = Signal()

    grid_requested = Signal(tuple)
    """The text on show is wanted at these temperatures, under the settings in force."""
    stop_requested = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._grid: TemperatureGrid | None = None
        self._working = False

    @property
    def grid(self) -> TemperatureGrid | None:
        """The last grid that was asked for, as far as it has come."""
        return self._grid

    def set_grid(self, grid: TemperatureGrid | None) -> None:
        """A row was begun, went on or ended."""
        if grid is not self._grid:
            self._grid = grid
            self.grid_changed.emit()

    @property
    def working(self) -> bool:
        """Whether it is being worked on."""
        return self._working

    def set_working(self, working: bool) -> None:
        """Work on it began, or came to an end."""
        if working != self._working:
            self._working = working
            self.working_changed.emit()
