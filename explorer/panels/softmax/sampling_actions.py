"""What can be done with a distribution and its settings: draw, replay, copy, paste."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QMenu, QPushButton, QWidget

from explorer.core.sampling import SamplingParams
from explorer.core.settings_text import as_json, as_python, read_settings
from explorer.panels.widgets.wrapping_layout import WrappingLayout
from explorer.theme import Theme

DRAW_COUNTS = (1, 100, 10_000)


class SamplingActions(QWidget):
    """A row of buttons.

    Signals
    -------
    draw_requested : int
        Draw so many tokens; 0 takes the last draws away.
    replay_requested
        Generate the sentence anew under the settings.
    params_pasted : SamplingParams
        Settings were read from the clipboard.
    paste_refused : str
        There were none there; the sentence says why.
    """

    draw_requested = Signal(int)
    replay_requested = Signal()
    params_pasted = Signal(object)
    paste_refused = Signal(str)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme = theme
        self._params = SamplingParams()
        self.draw = self._button(
            "Draw", "Draw tokens from the reshaped distribution, with the seed if one is set"
        )
        menu = QMenu(self.draw)
        for count in DRAW_COUNTS:
            menu.addAction(f"{count:,}").triggered.connect(partial(self._on_draw_chosen, count))
        menu.addSeparator()
        menu.addAction("Clear").triggered.connect(partial(self._on_draw_chosen, 0))
        self.draw.setMenu(menu)
        self.replay = self._button("Replay", "Generate this sentence anew, to the end, with these settings")
        self.replay.clicked.connect(self.replay_requested)
        self.copy = self._button("Copy", "Copy the settings for transformers")
        menu = QMenu(self.copy)
        menu.addAction("GenerationConfig JSON", lambda: _to_clipboard(as_json(self._params)))
        menu.addAction("Three lines of Python", lambda: _to_clipboard(as_python(self._params)))
        self.copy.setMenu(menu)
        self.paste = self._button("Paste", "Take over copied settings: GenerationConfig JSON or Python")
        self.paste.clicked.connect(self._on_paste_clicked)
        self._buttons = (self.draw, self.replay, self.copy, self.paste)
        self._row = WrappingLayout(self)
        for button in self._buttons:
            self._row.addWidget(button)

    def set_params(self, params: SamplingParams) -> None:
        """What is copied, and whose seed a paste keeps."""
        self._params = params

    def style_buttons(self, style: str, spacing: int) -> None:
        """Sizes changed."""
        self._row.setSpacing(spacing)
        for button in self._buttons:
            button.setStyleSheet(style)

    def _button(self, text: str, tooltip: str) -> QPushButton:
        button = QPushButton(text, self)
        button.setObjectName(f"{text.lower()}_button")
        button.setToolTip(tooltip)
        return button

    def _on_draw_chosen(self, count: int, _checked: bool = False) -> None:
        self.draw_requested.emit(count)

    def _on_paste_clicked(self) -> None:
        try:
            params = read_settings(QGuiApplication.clipboard().text(), self._params.seed)
        except ValueError as error:
            self.paste_refused.emit(str(error))
        else:
            self.params_pasted.emit(params)


def _to_clipboard(text: str) -> None:
    QGuiApplication.clipboard().setText(text)
