"""One line across the window for whatever went wrong, with a report to copy."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QWidget

from explorer.app.state import AppState
from explorer.theme import Theme


class NoticeBar(QFrame):
    """Shows `AppState.notice`; hidden when there is none."""

    def __init__(self, state: AppState, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("notice_bar")
        self._state = state
        self._theme = theme
        self._text = QLabel(self)
        self._text.setWordWrap(True)
        self._text.setTextFormat(Qt.TextFormat.PlainText)
        self._text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._copy = QPushButton("Copy report", self)
        self._copy.setProperty("role", "link")
        self._copy.setToolTip("Versions and what happened, to send on; nothing is sent by itself")
        self._copy.clicked.connect(self._on_copy_clicked)
        self._dismiss = QPushButton("Dismiss", self)
        self._dismiss.setProperty("role", "link")
        self._dismiss.clicked.connect(lambda: state.set_notice(None))
        row = QHBoxLayout(self)
        row.setContentsMargins(theme.space(2), theme.space(0.5), theme.space(1), theme.space(0.5))
        row.addWidget(self._text, 1)
        row.addWidget(self._copy)
        row.addWidget(self._dismiss)
        state.notice_changed.connect(self._update_notice)
        theme.changed.connect(self._update_notice)
        self._update_notice()

    def _update_notice(self) -> None:
        notice = self._state.notice
        self.setVisible(notice is not None)
        if notice is None:
            return
        self._text.setText(notice.text)
        self._copy.setVisible(bool(notice.details))
        fill, line = ("error_fill", "error") if notice.error else ("accent_fill", "accent")
        palette = self._theme.palette
        self.setStyleSheet(
            f"#notice_bar {{ background: {getattr(palette, fill)};"
            f" border: 1px solid {getattr(palette, line)};"
            f" border-radius: {self._theme.space(1)}px; }}"
        )

    def _on_copy_clicked(self) -> None:
        notice = self._state.notice
        if notice is not None:
            QGuiApplication.clipboard().setText(f"{notice.text}\n\n{notice.details}")
