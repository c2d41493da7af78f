"""What an empty panel says."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QVBoxLayout, QWidget

from explorer.theme import Theme


class EmptyHint(QWidget):
    """One sentence in the middle of a panel that has nothing to show yet."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._label = QLabel(self)
        self._label.setProperty("role", "hint")
        self._label.setWordWrap(True)
        self._label.setAlignment(Qt.AlignmentFlag.AlignCenter)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(*[theme.space(3)] * 4)
        layout.addWidget(self._label)

    def set_text(self, text: str) -> None:
        """Say ``text``."""
        self._label.setText(text)
