"""What can be done with a distribution and its settings: draw, replay, copy, paste, seed."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtGui import QFontMetrics, QGuiApplication
from PySide6.QtWidgets import QLabel, QLineEdit, QMenu, QPushButton, QWidget

from explorer.core.sampling import LARGEST_SEED, SamplingParams
from explorer.core.settings_text import as_json, as_python, read_settings
from explorer.panels.widgets.piece_text import shorten
from explorer.panels.widgets.wrapping_layout import WrappingLayout
from explorer.theme import Theme

DRAW_COUNTS = (1, 100, 10_000)
_RANDOM = "random"
_REPLAY_TIP = "Generate this sentence anew, to the end, with these settings"
_OUTDATED_TIP = ".\nSteps on show were drawn under other settings."
_LONGEST_SHOWN = 24


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
    seed_edited : int or None
        A person typed a seed, or None for a random one.
    refused : str
        What was pasted or typed cannot be taken; the sentence says why.
    """

    draw_requested = Signal(int)
    replay_requested = Signal()
    params_pasted = Signal(object)
    seed_edited = Signal(object)
    refused = Signal(str)

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
        self.replay = self._button("Replay", _REPLAY_TIP)
        self.replay.clicked.connect(self.replay_requested)
        self.copy = self._button("Copy", "Copy the settings for transformers")
        menu = QMenu(self.copy)
        menu.addAction("GenerationConfig JSON", lambda: _to_clipboard(as_json(self._params)))
        menu.addAction("Three lines of Python", lambda: _to_clipboard(as_python(self._params)))
        self.copy.setMenu(menu)
        self.paste = self._button("Paste", "Take over copied settings: GenerationConfig JSON or Python")
        self.paste.clicked.connect(self._on_paste_clicked)
        self._buttons = (self.draw, self.replay, self.copy, self.paste)
        self.seed_label = QLabel("Seed", self)
        self.seed = QLineEdit(self)
        self.seed.setObjectName("seed_entry")
        self.seed.setProperty("face", "mono")
        self.seed.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.seed.setPlaceholderText(_RANDOM)
        self.seed.setAccessibleName("Seed of the draws; empty draws differently each time")
        self.seed.setToolTip(
            f"A whole number from 0 to {LARGEST_SEED}: with the same one, draws and replays repeat."
            " Empty: different each time."
        )
        self.seed_label.setBuddy(self.seed)
        self.seed.editingFinished.connect(self._on_seed_finished)
        self._row = WrappingLayout(self)
        for widget in (*self._buttons, self.seed_label, self.seed):
            self._row.addWidget(widget)

    def set_params(self, params: SamplingParams) -> None:
        """What is copied, and whose seed a paste keeps."""
        self._params = params
        self._show_seed()

    def set_outdated(self, outdated: bool) -> None:
        """Whether the run on show has steps that were drawn under other settings."""
        role = "primary" if outdated else ""
        if self.replay.property("role") != role:
            self.replay.setProperty("role", role)
            self.replay.setToolTip(_REPLAY_TIP + (_OUTDATED_TIP if outdated else ""))
            # A style sheet looks at properties when it is told to.
            self.replay.style().unpolish(self.replay)
            self.replay.style().polish(self.replay)

    def style_buttons(self, style: str, spacing: int) -> None:
        """Sizes changed."""
        self._row.setSpacing(spacing)
        for button in self._buttons:
            button.setStyleSheet(style)
        height = self._buttons[0].sizeHint().height()
        self.seed.setFont(self.theme.mono("small"))
        room = QFontMetrics(self.theme.mono("small")).horizontalAdvance(_RANDOM + "00")
        self.seed.setStyleSheet(f"QLineEdit {{ padding: 0px; font-size: {self.theme.pixels('small')}px; }}")
        self.seed.setFixedSize(room + self.theme.space(1), height)
        self.seed_label.setFont(self.theme.prose("small"))
        self.seed_label.setFixedHeight(height)

    def _button(self, text: str, tooltip: str) -> QPushButton:
        button = QPushButton(text, self)
        button.setObjectName(f"{text.lower()}_button")
        button.setToolTip(tooltip)
        return button

    def _on_draw_chosen(self, count: int, _checked: bool = False) -> None:
        self.draw_requested.emit(count)

    def _show_seed(self) -> None:
        with QSignalBlocker(self.seed):
            self.seed.setText("" if self._params.seed is None else str(self._params.seed))
            self.seed.setCursorPosition(0)

    def _on_seed_finished(self) -> None:
        text = self.seed.text().strip().lower()
        try:
            seed = None if text in ("", _RANDOM) else int(text)
            params = self._params.with_changes(seed=seed)
        except ValueError:
            self.refused.emit(
                f"A seed is a whole number from 0 to {LARGEST_SEED}, or nothing for a random one; "
                f"“{shorten(text, _LONGEST_SHOWN)}” is neither."
            )
            self._show_seed()
            return
        if params != self._params:
            self.seed_edited.emit(seed)
        self._show_seed()

    def _on_paste_clicked(self) -> None:
        try:
            read = read_settings(QGuiApplication.clipboard().text(), self._params.seed)
        except ValueError as error:
            self.refused.emit(str(error))
            return
        self.params_pasted.emit(read.params)
        if read.not_taken:
            names = ", ".join(read.not_taken)
            self.refused.emit(f"The sliders took over the settings, but for {names}: there is none for that.")


def _to_clipboard(text: str) -> None:
    QGuiApplication.clipboard().setText(text)
