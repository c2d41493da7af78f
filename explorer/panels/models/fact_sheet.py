"""What a model is, as two columns: the name of a fact, and the fact."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QLabel, QSizePolicy, QWidget

from explorer.core.fact_rows import fact_rows
from explorer.core.model_facts import ModelFacts
from explorer.theme import Theme


class FactSheet(QWidget):
    """Shows `fact_rows`; empty while there are none."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("fact_sheet")
        self._theme = theme
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setColumnStretch(1, 1)
        self._labels: list[tuple[QLabel, QLabel]] = []
        theme.changed.connect(self._update_spacing)
        self._update_spacing()

    def set_facts(self, facts: ModelFacts | None) -> None:
        """Show these facts, or nothing."""
        rows = [] if facts is None else fact_rows(facts)
        while len(self._labels) < len(rows):
            self._add_row()
        for index, (name, value) in enumerate(self._labels):
            there = index < len(rows)
            name.setText(rows[index][0] if there else "")
            value.setText(rows[index][1] if there else "")
            name.setVisible(there)
            value.setVisible(there)

    def texts(self) -> dict[str, str]:
        """What is shown, by the name of the fact."""
        return {name.text(): value.text() for name, value in self._labels if name.text()}

    def _add_row(self) -> None:
        name, value = QLabel(self), QLabel(self)
        name.setProperty("role", "muted")
        for label in (name, value):
            label.setTextFormat(Qt.TextFormat.PlainText)
        value.setWordWrap(True)
        value.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        value.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        row = len(self._labels)
        self._grid.addWidget(name, row, 0, Qt.AlignmentFlag.AlignTop)
        self._grid.addWidget(value, row, 1)
        self._labels.append((name, value))

    def _update_spacing(self) -> None:
        self._grid.setHorizontalSpacing(self._theme.space(2))
        self._grid.setVerticalSpacing(self._theme.space(0.5))
