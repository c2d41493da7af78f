"""Play, pause, and how fast."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QPushButton, QSizePolicy, QWidget

from explorer.app.generation_state import SPEEDS
from explorer.app.state import AppState
from explorer.theme import Theme

TIPS = {
    "layer by layer": "Walk through every moment inside each step: the strip, the opened attention layer and "
    "the inside view go along",
    "0.5 steps/s": "One step in two seconds, walking through its moments",
    "fastest": "As fast as the model goes",
}


class PlayBar(QWidget):
    """Plays the run from the viewed step: what is there is shown again, then the model writes on."""

    def __init__(self, state: AppState, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._state = state
        self._theme = theme
        self.play_button = QPushButton(self)
        self.play_button.setObjectName("play_button")
        self.play_button.clicked.connect(self.toggle)
        self.speeds = QComboBox(self)
        self.speeds.setObjectName("play_speed")
        self.speeds.setAccessibleName("Playing speed")
        self.speeds.setToolTip("How fast Play goes; a slow model is waited for")
        for place, speed in enumerate(SPEEDS):
            self.speeds.addItem(speed.name)
            self.speeds.setItemData(place, TIPS.get(speed.name, ""), Qt.ItemDataRole.ToolTipRole)
        self.speeds.activated.connect(lambda place: state.generation.set_speed(SPEEDS[place]))
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.addWidget(self.play_button)
        self._row.addWidget(self.speeds)
        generation = state.generation
        for changed in (generation.playing_changed, generation.speed_changed, state.model_changed):
            changed.connect(self._update)
        theme.changed.connect(self._update_theme)
        self._update_theme()

    def toggle(self) -> None:
        """Play, or pause."""
        if self._state.model is not None:
            self._state.generation.set_playing(not self._state.generation.playing)

    def _update(self) -> None:
        generation = self._state.generation
        self.play_button.setEnabled(self._state.model is not None)
        self.play_button.setText("Pause" if generation.playing else "Play")
        self.play_button.setToolTip(
            "Stay where it is (F5)"
            if generation.playing
            else "Play from the viewed step on, at the speed beside it; at the end, from the start (F5)"
        )
        with QSignalBlocker(self.speeds):
            self.speeds.setCurrentIndex(self.speeds.findText(generation.speed.name))

    def _update_theme(self) -> None:
        space, small = self._theme.space, self._theme.pixels("small")
        self._row.setSpacing(space(0.7))
        for widget, kind in ((self.play_button, "QPushButton"), (self.speeds, "QComboBox")):
            widget.setStyleSheet(f"{kind} {{ font-size: {small}px; padding: {space(0.4)}px {space(1)}px; }}")
        self._update()
        self.play_button.setMinimumWidth(0)
        widest = max(self.play_button.fontMetrics().horizontalAdvance(text) for text in ("Play", "Pause"))
        self.play_button.setMinimumWidth(widest + space(4))
