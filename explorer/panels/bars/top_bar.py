"""The bar that a person works from: model, text, and the buttons of the loop."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSignalBlocker, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLabel, QLineEdit, QPushButton, QSizePolicy, QWidget

from explorer.app.state import AppState
from explorer.panels.bars.model_badge import ModelBadge
from explorer.theme import Theme

# QLineEdit cuts at 32,767 characters by default, without a word.
MAX_TEXT_LENGTH = 10_000_000


class TopBar(QWidget):
    """Model chooser, badge, text field, Step, Back, Run, Reset, and where the loop is.

    Parameters
    ----------
    models : sequence of str
        Names to choose from; `set_models` changes them.
    """

    dialog_wanted = Signal()

    def __init__(
        self, state: AppState, theme: Theme, models: Sequence[str], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._state = state
        self._theme = theme
        self._models: tuple[str, ...] = ()
        self.model_chooser = QComboBox(self)
        self.model_chooser.setObjectName("model_chooser")
        self.model_chooser.setAccessibleName("Model")
        self.model_chooser.setToolTip("Which model is watched")
        self.model_chooser.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self.model_chooser.activated.connect(self._on_model_activated)
        self.badge = ModelBadge(state, theme, self)
        self.badge.dialog_wanted.connect(self.dialog_wanted)
        self.text_field = TextField(self)
        self.text_field.setObjectName("text_field")
        self.text_field.setAccessibleName("Text for the model")
        self.text_field.textEdited.connect(state.set_source_text)
        self.text_field.returnPressed.connect(state.finish_requested)
        self.back_button = self._button(
            "back", "◀ Back", "Take the last step back (Ctrl+Left)", state.back_requested
        )
        self.step_button = self._button(
            "step", "Step ▶", "Write one more token (Ctrl+Right)", state.step_requested, primary=True
        )
        self.run_button = self._button("run", "Run", "Step to the end (Enter in the text field)", None)
        self.run_button.clicked.connect(self._on_run_clicked)
        self.reset_button = self._button(
            "reset", "Reset", "Go back before the first step; branches stay (Ctrl+R)", state.reset_requested
        )
        self.position = QLabel(self)
        self.position.setObjectName("position")
        self.position.setProperty("role", "muted")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(theme.space(1))
        row.addWidget(self.model_chooser)
        row.addWidget(self.badge)
        row.addWidget(self.text_field, 1)
        for button in (self.back_button, self.step_button, self.run_button, self.reset_button):
            row.addWidget(button)
        row.addWidget(self.position)
        self.set_models(models)
        for signal in (state.model_changed, theme.changed):
            signal.connect(self._update_model)
        for signal in (state.run_changed, state.activity_changed, state.stale_changed, state.source_changed):
            signal.connect(self._update_loop)
        state.source_text_changed.connect(self._update_text)
        self._update_model()
        self._update_loop()
        self._update_text()

    def set_models(self, models: Sequence[str]) -> None:
        """Offer these models, and after them the way to any other."""
        self._models = tuple(models)
        with QSignalBlocker(self.model_chooser):
            self.model_chooser.clear()
            self.model_chooser.addItems(list(models))
            self.model_chooser.insertSeparator(len(models))
            self.model_chooser.addItem("Other models …")
        self._update_model()

    def _button(
        self, name: str, text: str, tip: str, request: object, *, primary: bool = False
    ) -> QPushButton:
        button = QPushButton(text, self)
        button.setObjectName(f"{name}_button")
        button.setToolTip(tip)
        button.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        if primary:
            button.setProperty("role", "primary")
        if request is not None:
            button.clicked.connect(request)
        return button

    def _on_model_activated(self, index: int) -> None:
        if index < len(self._models):
            self._state.model_requested.emit(self._models[index])
        else:
            self.dialog_wanted.emit()
        # What is shown as chosen is the model in force; it changes when the new one is ready.
        self._update_model()

    def _on_run_clicked(self) -> None:
        running = self.run_button.text() == "Stop"
        (self._state.stop_requested if running else self._state.finish_requested).emit()

    def _update_text(self) -> None:
        if self.text_field.text() != self._state.source_text:
            self.text_field.setText(self._state.source_text)

    def _update_model(self) -> None:
        model = self._state.model
        with QSignalBlocker(self.model_chooser):
            if model is not None and model.name not in self._models and model.source not in self._models:
                self.model_chooser.setPlaceholderText(model.name)
            names = (model.name, model.source) if model is not None else ()
            index = next((i for i, name in enumerate(self._models) if name in names), -1)
            self.model_chooser.setCurrentIndex(index)

    def _update_loop(self) -> None:
        run = self._state.run
        current = run is not None and not self._state.stale
        steps = len(run.steps) if run is not None and current else 0
        finished = current and run is not None and run.finished
        generating = self._state.activity is not None and self._state.activity.kind == "generating"
        loaded = self._state.model is not None
        self.step_button.setEnabled(loaded and not finished)
        self.back_button.setEnabled(steps > 0)
        self.reset_button.setEnabled(steps > 0)
        self.run_button.setEnabled(loaded and (generating or not finished))
        self.run_button.setText("Stop" if generating else "Run")
        plural = "" if steps == 1 else "s"
        self.position.setText(f"{steps} step{plural} · done" if finished else f"step {steps}")
        widest = self.position.fontMetrics().horizontalAdvance("000 steps · done")
        self.position.setMinimumWidth(widest)


class TextField(QLineEdit):
    """The text that the model reads. Escape gives the keyboard back to the panels."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMaxLength(MAX_TEXT_LENGTH)
        self.setPlaceholderText("Type a sentence …")
        self.setClearButtonEnabled(True)

    def sizeHint(self) -> QSize:
        """Room for a short sentence at least."""
        hint = super().sizeHint()
        return QSize(max(hint.width(), self.fontMetrics().horizontalAdvance("x" * 30)), hint.height())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Escape leaves the field."""
        if event.key() == Qt.Key.Key_Escape:
            self.clearFocus()
        else:
            super().keyPressEvent(event)
