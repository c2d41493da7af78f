"""Where a person says when a run is to end."""

from __future__ import annotations

from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QLabel,
    QPlainTextEdit,
    QSpinBox,
    QWidget,
)

from explorer.app.state import AppState
from explorer.core.stopping import Stopping
from explorer.theme import Theme

MOST_TOKENS = 100_000
SAID = (
    "A run ends at its model's end-of-sequence token, after so many tokens, or when one of these texts has "
    "been written. A run that ended by the old conditions can be stepped on from where it is."
)


class StopDialog(QDialog):
    """The most new tokens, and the stop strings, one a line; both can be left to the checkpoint."""

    def __init__(self, state: AppState, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._state = state
        self.setObjectName("stop_dialog")
        self.setWindowTitle("When a run ends")
        stopping = state.generation.stopping
        self.limit = QSpinBox(self)
        self.limit.setObjectName("stop_limit")
        self.limit.setRange(0, MOST_TOKENS)
        self.limit.setSpecialValueText("the checkpoint's own")
        self.limit.setValue(stopping.max_new_tokens or 0)
        self.strings = QPlainTextEdit(self)
        self.strings.setObjectName("stop_strings")
        self.strings.setFont(theme.mono())
        self.strings.setTabChangesFocus(True)
        self.strings.setPlaceholderText("one a line; \\n stands for a line break")
        self.strings.setPlainText("\n".join(text.replace("\n", "\\n") for text in stopping.strings))
        self.strings.setFixedHeight(theme.space(14))
        told = QLabel(SAID, self)
        told.setWordWrap(True)
        told.setProperty("role", "muted")
        buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel, parent=self
        )
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        form = QFormLayout(self)
        form.addRow(told)
        form.addRow("&Most new tokens", self.limit)
        form.addRow("&Stop strings", self.strings)
        form.addRow(buttons)
        self.setMinimumWidth(theme.space(75))

    def accept(self) -> None:
        """Take the conditions over."""
        lines = self.strings.toPlainText().splitlines()
        texts = tuple(line.replace("\\n", "\n") for line in lines if line)
        self._state.generation.set_stopping(Stopping(self.limit.value() or None, texts))
        super().accept()
