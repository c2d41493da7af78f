"""What is going on, at the foot of the window."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QWidget

from explorer.app.state import AppState
from explorer.theme import Theme


class ActivityLine(QWidget):
    """Shows `AppState.activity` as a line of text and a thin bar; says "Ready" when there is none."""

    def __init__(self, state: AppState, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._state = state
        self._label = QLabel(self)
        self._label.setObjectName("activity_label")
        self._label.setProperty("role", "facts")
        self._label.setTextFormat(Qt.TextFormat.PlainText)
        self._bar = QProgressBar(self)
        self._bar.setTextVisible(False)
        self._bar.setFixedWidth(theme.space(24))
        row = QHBoxLayout(self)
        row.setContentsMargins(theme.space(2), 0, theme.space(2), theme.space(0.5))
        row.addWidget(self._label)
        row.addWidget(self._bar)
        row.addStretch(1)
        state.activity_changed.connect(self._update_activity)
        state.model_changed.connect(self._update_activity)
        self._update_activity()

    def _update_activity(self) -> None:
        activity = self._state.activity
        # The bar keeps its place while hidden, so that the line does not jump.
        policy = self._bar.sizePolicy()
        policy.setRetainSizeWhenHidden(True)
        self._bar.setSizePolicy(policy)
        self._bar.setVisible(activity is not None)
        if activity is None:
            self._label.setText("Ready" if self._state.model is not None else "Starting …")
        else:
            self._label.setText(activity.text)
            if activity.fraction is None:
                self._bar.setRange(0, 0)
            else:
                self._bar.setRange(0, 1000)
                self._bar.setValue(round(activity.fraction * 1000))
