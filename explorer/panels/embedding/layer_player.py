"""A slider through the model's stages, with a button that plays them."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSignalBlocker, Qt, QVariantAnimation, Signal
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSlider, QVBoxLayout, QWidget

from explorer.theme import Theme

# The slider counts in hundredths of a stage, so that tokens glide.
FINE = 100
STAGE_MS = 900


class LayerPlayer(QWidget):
    """Chooses how far through the model the sentence is.

    Signals
    -------
    moved : float
        Stage, from 0; between two stages where it is under way.
    """

    moved = Signal(float)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._stages: tuple[str, ...] = ()
        self.slider = QSlider(Qt.Orientation.Horizontal, self)
        self.slider.setObjectName("layer_slider")
        self.slider.setAccessibleName("How far through the model")
        self.slider.setPageStep(FINE)
        self.slider.setSingleStep(FINE)
        self.play_button = QPushButton("Play", self)
        self.play_button.setObjectName("layer_play_button")
        self.play_button.setToolTip("Watch the sentence's vectors move from layer to layer.")
        self.stage_label = QLabel(self)
        self.stage_label.setObjectName("layer_stage")
        self.note_label = QLabel(self)
        self.note_label.setProperty("role", "muted")
        self.note_label.setWordWrap(True)
        row = QHBoxLayout()
        row.addWidget(self.play_button)
        row.addWidget(self.slider, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(row)
        column.addWidget(self.stage_label)
        column.addWidget(self.note_label)
        column.addStretch(1)
        self._flight = QVariantAnimation(self)
        self._flight.valueChanged.connect(lambda value: self.slider.setValue(round(value)))
        self._flight.finished.connect(lambda: self.play_button.setText("Play"))
        self.slider.valueChanged.connect(self._on_moved)
        self.slider.sliderReleased.connect(self._on_released)
        self.slider.sliderPressed.connect(self._flight.stop)
        self.play_button.clicked.connect(self._on_play)
        self.set_stages((), ())

    def set_stages(self, stages: Sequence[str], notes: Sequence[str]) -> None:
        """Offer these stages; nothing is emitted."""
        self._flight.stop()
        kept = self.slider.value() if tuple(stages) == self._stages else 0
        self._stages = tuple(stages)
        self.slider.setEnabled(bool(stages))
        self.play_button.setEnabled(bool(stages))
        with QSignalBlocker(self.slider):
            self.slider.setRange(0, FINE * max(0, len(stages) - 1))
            self.slider.setValue(kept)
        hint = "" if stages else "Run the model to follow its vectors from layer to layer."
        self.note_label.setText(hint or " ".join(notes))
        self._update_label()

    @property
    def stage(self) -> float:
        """Where the slider stands."""
        return self.slider.value() / FINE

    def _on_moved(self, value: int) -> None:
        self._update_label()
        self.moved.emit(value / FINE)

    def _on_released(self) -> None:
        # Numbers belong to stages: a hand that lets go between two means the nearer.
        self.slider.setValue(round(self.slider.value() / FINE) * FINE)

    def _on_play(self) -> None:
        if self._flight.state() == QVariantAnimation.State.Running:
            self._flight.stop()
            self.play_button.setText("Play")
            self._on_released()
            return
        end = self.slider.maximum()
        start = self.slider.value() if self.slider.value() < end else 0
        self._flight.setStartValue(float(start))
        self._flight.setEndValue(float(end))
        self._flight.setDuration(max(1, round(STAGE_MS * (end - start) / FINE)))
        self.play_button.setText("Pause")
        self._flight.start()

    def _update_label(self) -> None:
        if not self._stages:
            self.stage_label.setText("")
            return
        stage = round(self.stage)
        self.stage_label.setText(f"{stage} of {len(self._stages) - 1}: {self._stages[stage]}")
