"""Where a person chooses the token that a step must write."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QLabel, QLineEdit, QMenu, QPushButton, QWidget, QWidgetAction

from explorer.app.state import AppState
from explorer.core.records import StepRecord
from explorer.panels.widgets.piece_text import probability_text, shorten, visible_piece
from explorer.theme import Theme


class ForceMenu(QMenu):
    """The most likely tokens of one step, and a field for any other.

    Signals
    -------
    token_chosen : int
        A person chose this token ID.
    """

    token_chosen = Signal(int)

    def __init__(self, state: AppState, theme: Theme, step: StepRecord, parent: QWidget) -> None:
        super().__init__(parent)
        self._state = state
        self.setObjectName("force_menu")
        self.setToolTipsVisible(True)
        heading = self.addAction(f"Write this at step {step.index} instead, as a new branch:")
        heading.setEnabled(False)
        for rank, (token_id, probability) in enumerate(step.best):
            if token_id == step.token.id:
                continue
            piece = shorten(visible_piece(state.piece(token_id)), 40)
            # An ampersand would be taken for a mnemonic, a tab for a shortcut column.
            action = self.addAction(f"{rank}   {piece.replace('&', '&&')}\t{probability_text(probability)}")
            action.setFont(theme.mono())
            action.setToolTip(f"token ID {token_id}")
            action.triggered.connect(
                lambda _checked=False, token_id=token_id: self.token_chosen.emit(token_id)
            )
        self.addSeparator()
        self._entry = QLineEdit(self)
        self._entry.setObjectName("force_entry")
        self._entry.setPlaceholderText("token ID or piece")
        self._entry.setAccessibleName("Token ID or piece to force")
        self._entry.setMinimumWidth(theme.space(28))
        self._button = QPushButton("Force", self)
        self._button.setObjectName("force_button")
        self._echo = QLabel(self)
        self._echo.setObjectName("force_echo")
        row = QWidget(self)
        layout = QHBoxLayout(row)
        layout.setContentsMargins(theme.space(2), theme.space(0.5), theme.space(2), theme.space(0.5))
        layout.addWidget(self._entry, 1)
        layout.addWidget(self._button)
        entry_action = QWidgetAction(self)
        entry_action.setDefaultWidget(row)
        self.addAction(entry_action)
        self._echo.setContentsMargins(theme.space(2), 0, theme.space(2), theme.space(0.5))
        self._echo.setProperty("role", "facts")
        echo_action = QWidgetAction(self)
        echo_action.setDefaultWidget(self._echo)
        self.addAction(echo_action)
        self._entry.textChanged.connect(self._update_echo)
        self._entry.returnPressed.connect(self._on_entered)
        self._button.clicked.connect(self._on_entered)
        self._update_echo()

    def find_token(self, text: str) -> int | None:
        """Return the token that ``text`` names, by ID or by piece; None when there is none.

        A number is an ID. A piece is looked up as typed, then with the mark that tokenizers put for a
        space before a word. O(vocabulary): called once per key pressed in the field.
        """
        size = 0 if self._state.model is None else self._state.model.vocabulary_size
        if text.isascii() and text.isdigit():
            return int(text) if int(text) < size else None
        if not text or self._state.cloud is None:
            return None
        pieces = self._state.cloud.pieces
        for name in (text, f"▁{text}", f"Ġ{text}"):
            try:
                return pieces.index(name)
            except ValueError:
                continue
        return None

    def _update_echo(self) -> None:
        text = self._entry.text().strip()
        found = self.find_token(text)
        self._button.setEnabled(found is not None)
        if found is not None:
            self._echo.setText(f"{shorten(visible_piece(self._state.piece(found)), 30)}   token ID {found}")
        elif text:
            size = 0 if self._state.model is None else self._state.model.vocabulary_size
            self._echo.setText(f"no such token (IDs go from 0 to {max(0, size - 1):,})")
        else:
            self._echo.setText(" ")

    def _on_entered(self) -> None:
        found = self.find_token(self._entry.text().strip())
        if found is not None:
            self.close()
            self.token_chosen.emit(found)
