"""What the views of the inside of steps have in common: they are read only while somebody looks."""

from __future__ import annotations

from PySide6.QtGui import QHideEvent, QShowEvent
from PySide6.QtWidgets import QStackedLayout, QVBoxLayout, QWidget

from explorer.app.state import AppState
from explorer.core.inside import InsideReading
from explorer.panels.widgets.empty_hint import EmptyHint
from explorer.panels.widgets.reading_line import ReadingLine
from explorer.theme import Theme

DIMMED_OPACITY = 0.45


class WatchedView(QWidget):
    """A canvas with one line of reading below it, or one sentence where there is nothing to show yet.

    A subclass sets `canvas` by `set_canvas`, and draws in `_update_reading`, which is called whenever
    the run, the viewed step, the moment or what was read of it changed, as long as it is in sight.
    """

    def __init__(self, state: AppState, theme: Theme, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.state = state
        self.theme = theme
        self.setObjectName(name)
        self._hint = EmptyHint(theme, self)
        self._body = QWidget(self)
        self.line = ReadingLine(f"{name}_line", self._body)
        self._column = QVBoxLayout(self._body)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(theme.space(0.3))
        self._column.addWidget(self.line)
        self._stack = QStackedLayout(self)
        self._stack.addWidget(self._body)
        self._stack.addWidget(self._hint)
        for changed in (
            state.run_changed,
            state.viewed_step_changed,
            state.stale_changed,
            state.generation.inside_changed,
            state.generation.inside_problem_changed,
            state.generation.moment_changed,
        ):
            changed.connect(self._update)

    def set_canvas(self, canvas: QWidget) -> None:
        """Put the drawing above the line."""
        self._column.insertWidget(0, canvas, 1)

    @property
    def reading(self) -> InsideReading | None:
        """What was read of the run on show; it may lack its newest steps."""
        run, inside = self.state.run, self.state.generation.inside
        return inside if run is not None and inside is not None and inside.run_id == run.run_id else None

    @property
    def known_steps(self) -> int:
        """How many of the run's steps, from the first on, were read: more, or another branch, is to come."""
        run, reading = self.state.run, self.reading
        if run is None or reading is None:
            return 0
        pairs = zip(run.nodes, reading.nodes, strict=False)
        return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(run.nodes), len(reading.nodes)))

    def place_of(self, step: int | None) -> int | None:
        """Row of a step of the run in what was read; None where it was not read."""
        run, reading = self.state.run, self.reading
        if run is None or reading is None or step is None or step >= len(run.nodes):
            return None
        node = run.nodes[step]
        # Steps of one path stand at their own places, so that a look there is enough.
        return step if step < len(reading.nodes) and reading.nodes[step] == node else None

    def hint_text(self) -> str:
        """Why there is nothing to show, in one sentence; empty where there is."""
        run = self.state.run
        if run is None or not run.steps:
            return "Press Step: what went on inside each step is read from the model then."
        if self.state.generation.inside_problem:
            return self.state.generation.inside_problem
        if self.reading is None:
            return "Reading the inside of the steps …"
        return ""

    def _update(self) -> None:
        if not self.isVisible():
            return
        hint = self.hint_text()
        self._hint.set_text(hint)
        self._stack.setCurrentWidget(self._hint if hint else self._body)
        self._update_reading()

    def _update_reading(self) -> None:
        """Draw what is in sight."""

    def showEvent(self, event: QShowEvent) -> None:  # noqa: D102
        super().showEvent(event)
        self.state.generation.set_watched(True)
        self._update()

    def hideEvent(self, event: QHideEvent) -> None:  # noqa: D102
        super().hideEvent(event)
        self.state.generation.set_watched(False)
