"""The same sentence at several temperatures, one row each."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from explorer.app.state import AppState, Notice
from explorer.core.temperature_grid import DEFAULT_TEMPERATURES, TemperatureGrid, read_temperatures
from explorer.panels.softmax.temperature_rows import TemperatureRow
from explorer.panels.widgets.piece_text import plain_tooltip
from explorer.theme import Theme

_HINT = (
    "Generate: the sentence is written once at each of these temperatures, with one seed and all other"
    " settings as they are. Where a row first leaves the greedy one is marked."
)


class TemperatureView(QWidget):
    """A list of temperatures, and what the model writes at each; a row can be taken.

    Signals
    -------
    row_taken : SamplingParams
        A person wants these settings, and the sentence generated under them.
    """

    row_taken = Signal(object)

    def __init__(self, state: AppState, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.state = state
        self.theme = theme
        self._label = QLabel("Temperatures", self)
        self.entry = QLineEdit(", ".join(f"{value:g}" for value in DEFAULT_TEMPERATURES), self)
        self.entry.setObjectName("temperatures_entry")
        self.entry.setAccessibleName("Temperatures, a list of numbers; 0 is greedy")
        self.entry.setToolTip("Numbers from 0 (greedy) up, e.g. 0, 0.5, 1. Enter generates.")
        self._label.setBuddy(self.entry)
        self.button = QPushButton("Generate", self)
        self.button.setObjectName("temperatures_button")
        self.facts = QLabel(self)
        self.facts.setObjectName("temperatures_facts")
        self.facts.setProperty("role", "reading")
        self.facts.setTextFormat(Qt.TextFormat.PlainText)
        self.facts.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._head = QHBoxLayout()
        self._head.addWidget(self._label)
        self._head.addWidget(self.entry, 3)
        self._head.addWidget(self.button)
        self._head.addWidget(self.facts, 2)
        self.hint = QLabel(_HINT, self)
        self.hint.setProperty("role", "hint")
        self.hint.setWordWrap(True)
        inside = QWidget()
        self._rows = QVBoxLayout(inside)
        self._rows.setContentsMargins(0, 0, 0, 0)
        self._rows.addStretch(1)
        self._scroll = QScrollArea(self)
        self._scroll.setWidgetResizable(True)
        self._scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        # As high as there is room, and never what makes the panel scroll.
        self._scroll.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Ignored)
        self._scroll.setWidget(inside)
        self.rows: list[TemperatureRow] = []
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.addLayout(self._head)
        self._column.addWidget(self.hint)
        self._column.addWidget(self._scroll, 1)
        self._column.addStretch(0)
        self.entry.returnPressed.connect(self._on_generate_wanted)
        self.button.clicked.connect(self._on_button_clicked)
        temperatures = state.temperatures
        temperatures.grid_changed.connect(self._update_grid)
        temperatures.working_changed.connect(self._update_button)
        state.sampling_changed.connect(self._update_grid)
        state.source_text_changed.connect(self._update_grid)
        state.languages.pair_changed.connect(self._update_grid)
        self.update_theme()
        self._update_button()

    def _on_button_clicked(self) -> None:
        if self.state.temperatures.working:
            self.state.temperatures.stop_requested.emit()
        else:
            self._on_generate_wanted()

    def _on_generate_wanted(self) -> None:
        try:
            wanted = read_temperatures(self.entry.text())
        except ValueError as error:
            self.state.set_notice(Notice(str(error), error=False))
            return
        if self.state.model is None:
            self.state.set_notice(
                Notice("The model is still loading; generate when it is there.", error=False)
            )
        elif not self.state.source_text.strip():
            self.state.set_notice(Notice("The text is empty: type a sentence for the model to read."))
        else:
            self.state.temperatures.grid_requested.emit(wanted)

    def _on_row_clicked(self, index: int, _checked: bool = False) -> None:
        grid = self.state.temperatures.grid
        if grid is not None and index < len(grid.rows):
            self.row_taken.emit(grid.rows[index].params)

    def _update_button(self) -> None:
        working = self.state.temperatures.working
        self.button.setText("Stop" if working else "Generate")
        self.button.setToolTip(
            "Keep what is there, and leave the rest"
            if working
            else "Write the sentence at each of these temperatures"
        )
        self._update_facts()

    def _update_grid(self) -> None:
        grid = self.state.temperatures.grid
        self.hint.setVisible(grid is None)
        self._scroll.setVisible(grid is not None)
        self._column.setStretch(self._column.count() - 1, 1 if grid is None else 0)
        if grid is not None:
            self._show_rows(grid)
        self._update_facts()

    def _show_rows(self, grid: TemperatureGrid) -> None:
        while len(self.rows) < len(grid.rows):
            index = len(self.rows)
            row = TemperatureRow(self.theme, self)
            row.setObjectName(f"temperature_row_{index}")
            row.clicked.connect(partial(self._on_row_clicked, index))
            self._rows.insertWidget(index, row)
            self.rows.append(row)
        pale = self._of_before(grid)
        for index, row in enumerate(self.rows):
            shown = index < len(grid.rows)
            row.setVisible(shown)
            if shown:
                params = grid.rows[index].params
                # Without chance, the seed makes no difference.
                seed = self.state.sampling.seed if params.greedy else params.seed
                current = params.with_changes(seed=seed) == self.state.sampling
                row.show_row(grid, index, current=current, pale=pale)

    def _of_before(self, grid: TemperatureGrid) -> bool:
        """Whether text or languages are others by now."""
        here = self.state.source_text, self.state.languages.pair
        return (grid.source_text, grid.languages) != here

    def _update_facts(self) -> None:
        grid = self.state.temperatures.grid
        if grid is None:
            self.facts.setText("")
            return
        params = grid.rows[0].params.with_changes(temperature=1.0)
        shared = params.summary.removeprefix("temperature 1").removeprefix(" · ")
        done = sum(row.finished for row in grid.rows)
        state = f"{done} of {len(grid.rows)}" if done < len(grid.rows) else ""
        if state and not self.state.temperatures.working:
            state = f"stopped after {state}"
        old = "of an earlier text" if self._of_before(grid) else ""
        text = " · ".join(part for part in (state, old, shared) if part)
        self.facts.setText(text)
        self.facts.setToolTip(plain_tooltip(f"All rows: {shared}\nRead: {grid.source_text}"))

    def minimumSizeHint(self) -> QSize:  # noqa: D102
        return QSize(self.theme.space(30), self.theme.space(24))

    def sizeHint(self) -> QSize:  # noqa: D102
        return self.minimumSizeHint()

    def update_theme(self) -> None:
        """Colours or sizes changed."""
        space = self.theme.space
        self._column.setSpacing(space(0.8))
        self._head.setSpacing(space(1))
        self._rows.setSpacing(space(0.6))
        for row in self.rows:
            row.update_theme()
        self._update_grid()
