"""The search field of the embedding panel, with its list of results."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QEvent, QObject, Qt, QTimer, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QLineEdit, QListWidget, QListWidgetItem, QWidget

from explorer.core.token_search import TokenIndex
from explorer.panels.widgets.piece_text import shorten, visible_piece
from explorer.theme import Theme

PAUSE_MS = 120
ROWS = 9
_PIECE_WIDTH = 18


class TokenSearch(QLineEdit):
    """Finds tokens by text, ID or /regular expression/; Enter or a click goes there.

    Signals
    -------
    chosen : int
        Token ID.
    """

    chosen = Signal(int)

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("token_search")
        self.setAccessibleName("Find a token")
        self.setPlaceholderText("Find a token …")
        self.setToolTip("A text, a token ID, or a /regular expression/. Enter goes to the first.")
        self.setClearButtonEnabled(True)
        self._theme = theme
        self._parent = parent
        self._pieces: Sequence[str] = ()
        self._norms: npt.NDArray[np.float32] = np.empty(0, dtype=np.float32)
        self._index: TokenIndex | None = None
        self.results = QListWidget(parent)
        self.results.setObjectName("token_results")
        self.results.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.results.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.results.hide()
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(PAUSE_MS)
        self._pause.timeout.connect(self._search)
        self.textEdited.connect(lambda _: self._pause.start())
        self.textChanged.connect(self._on_text_changed)
        self.returnPressed.connect(self._on_return_pressed)
        self.results.itemClicked.connect(self._choose)
        parent.installEventFilter(self)
        self.update_theme()

    def set_vocabulary(self, pieces: Sequence[str], norms: npt.NDArray[np.float32]) -> None:
        """Search another vocabulary; it is laid out at the first search."""
        self._pieces, self._norms, self._index = pieces, norms, None
        self.clear()

    def update_theme(self) -> None:
        """Colours or sizes changed."""
        self.results.setFont(self._theme.mono("small"))
        color = self._theme.palette
        self.results.setStyleSheet(
            f"QListWidget {{ background: {color.surface}; border: 1px solid {color.border}; }}"
            f"QListWidget::item:selected {{ background: {color.selection_fill}; color: {color.text}; }}"
        )

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Arrows walk the results, Escape closes them."""
        steps = {Qt.Key.Key_Down: 1, Qt.Key.Key_Up: -1}
        if event.key() in steps and self.results.isVisible():
            row = self.results.currentRow() + steps[Qt.Key(event.key())]
            self.results.setCurrentRow(min(max(row, 0), self.results.count() - 1))
        elif event.key() == Qt.Key.Key_Escape and self.results.isVisible():
            self.results.hide()
        else:
            super().keyPressEvent(event)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """A press elsewhere closes the results."""
        if event.type() == QEvent.Type.MouseButtonPress:
            self.results.hide()
        return super().eventFilter(watched, event)

    def _on_text_changed(self, text: str) -> None:
        if not text:
            self.results.hide()

    def _search(self) -> None:
        query = self.text().strip()
        self.results.clear()
        if not query:
            self.results.hide()
            return
        if self._index is None:
            self._index = TokenIndex(self._pieces)
        try:
            found = self._index.find(query)
        except ValueError as error:
            self._show_note(str(error))
            return
        for token_id in found:
            piece = shorten(visible_piece(self._pieces[token_id]), _PIECE_WIDTH)
            item = QListWidgetItem(f"{piece:<{_PIECE_WIDTH}} {token_id:>6}  |v| {self._norms[token_id]:.3f}")
            item.setData(Qt.ItemDataRole.UserRole, token_id)
            self.results.addItem(item)
        if found:
            self.results.setCurrentRow(0)
            self._open()
        else:
            self._show_note("No token has this in its piece.")

    def _show_note(self, text: str) -> None:
        item = QListWidgetItem(text)
        item.setFlags(Qt.ItemFlag.NoItemFlags)
        self.results.addItem(item)
        self._open()

    def _open(self) -> None:
        row = max(14, self.results.sizeHintForRow(0))
        height = row * min(ROWS, self.results.count()) + self._theme.space(1)
        width = max(self.width(), self.results.sizeHintForColumn(0) + self._theme.space(5))
        parent = self._parent
        corner = self.mapTo(parent, self.rect().bottomLeft())
        room = parent.height() - corner.y() - 2
        self.results.setGeometry(
            corner.x(), corner.y() + 2, min(width, parent.width() - corner.x()), min(height, room)
        )
        self.results.show()
        self.results.raise_()

    def _on_return_pressed(self) -> None:
        if self._pause.isActive() or not self.results.isVisible():
            self._pause.stop()
            self._search()
        item = self.results.currentItem()
        if item is not None:
            self._choose(item)

    def _choose(self, item: QListWidgetItem) -> None:
        token_id = item.data(Qt.ItemDataRole.UserRole)
        if token_id is not None:
            self.results.hide()
            self.chosen.emit(int(token_id))
