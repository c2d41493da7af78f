"""Choose a model: what there is, what it would take, where it is to go; fetch and load it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePath

from PySide6.QtCore import QSize, Qt, QTimer
from PySide6.QtGui import QKeyEvent, QShowEvent
from PySide6.QtWidgets import (
    QDialog,
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from explorer.app.state import AppState
from explorer.core.model_facts import SUGGESTIONS, DownloadProgress
from explorer.core.quantities import in_bytes, in_time
from explorer.panels.models.fact_sheet import FactSheet
from explorer.panels.models.load_options import LoadOptions
from explorer.panels.models.model_list import Entry, ModelList
from explorer.theme import Theme

# Typing a name asks the hub for none of its beginnings.
LOOK_PAUSE_MS = 600
_BUNDLED_ABOUT = {
    "fr-en": "Translates French to English",
    "en-gpt": "Continues English sentences",
    "en-mlm": "Fills [MASK] in English sentences",
}


class ModelDialog(QDialog):
    """Stands beside the window, which goes on meanwhile. Shows `AppState.models` and asks it.

    Parameters
    ----------
    bundled : sequence of str
        Names of the models that come with the program.
    """

    def __init__(
        self, state: AppState, theme: Theme, bundled: Sequence[str], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Choose a model")
        self.setObjectName("model_dialog")
        self._state = state
        self._models = state.models
        self._theme = theme
        self._bundled = tuple(bundled)
        self._recent: tuple[str, ...] = ()
        # Whether the load in progress was asked for here: then the dialog closes when it is over.
        self._asked = False
        self._look_pause = QTimer(self)
        self._look_pause.setSingleShot(True)
        self._look_pause.setInterval(LOOK_PAUSE_MS)
        self._look_pause.timeout.connect(self._look)
        self._build()
        self._connect()
        self._update_all()
        self.resize(self.sizeHint())  # left to itself, Qt stops at two thirds of the screen

    def set_recent(self, names: Sequence[str]) -> None:
        """The models opened lately, newest first."""
        self._recent = tuple(name for name in names if name not in self._bundled)
        self._update_list()

    # -- building ---------------------------------------------------------------------------------------

    def _build(self) -> None:
        self.name_field = QLineEdit(self)
        self.name_field.setObjectName("model_name")
        self.name_field.setAccessibleName("Folder, or name on the hub")
        self.name_field.setPlaceholderText("Folder, or name on the hub, e.g. google/flan-t5-small")
        self.name_field.setClearButtonEnabled(True)
        self.browse_button = QPushButton("Browse …", self)
        self.browse_button.setToolTip("A folder that holds a model (config.json)")
        self.browse_button.setAutoDefault(False)
        self.offline = QLabel(self)
        self.offline.setObjectName("offline")
        self.offline.setWordWrap(True)
        self.list = ModelList(self._theme, self)
        self.title = QLabel(self)
        self.title.setProperty("role", "title")
        self.title.setWordWrap(True)
        self.title.setTextFormat(Qt.TextFormat.PlainText)
        self.problem = QLabel(self)
        self.problem.setObjectName("problem")
        self.problem.setWordWrap(True)
        self.problem.setTextFormat(Qt.TextFormat.PlainText)
        self.problem.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.facts = FactSheet(self._theme, self)
        self.options = LoadOptions(self._theme, self)
        self.progress_text = QLabel(self)
        self.progress_text.setProperty("role", "facts")
        self.progress = QProgressBar(self)
        self.progress.setTextVisible(False)
        self.stop_button = QPushButton("Stop the download", self)
        self.stop_button.setAutoDefault(False)
        self.close_button = QPushButton("Close", self)
        self.close_button.setAutoDefault(False)
        self.load_button = QPushButton("Load", self)
        self.load_button.setObjectName("load_button")
        self.load_button.setProperty("role", "primary")
        self.load_button.setAutoDefault(False)
        self._lay_out()

    def _lay_out(self) -> None:
        space = self._theme.space
        left = QWidget(self)
        column = QVBoxLayout(left)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(space(1))
        entry = QHBoxLayout()
        entry.addWidget(self.name_field, 1)
        entry.addWidget(self.browse_button)
        column.addLayout(entry)
        column.addWidget(self.offline)
        column.addWidget(self.list, 1)
        details = QWidget(self)
        inner = QVBoxLayout(details)
        inner.setContentsMargins(0, 0, space(1), 0)
        inner.setSpacing(space(1.5))
        inner.addWidget(self.title)
        inner.addWidget(self.problem)
        inner.addWidget(self.facts)
        self._line = QFrame(details)
        self._line.setFrameShape(QFrame.Shape.HLine)
        inner.addWidget(self._line)
        inner.addWidget(self.options)
        inner.addStretch(1)
        scroll = QScrollArea(self)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(details)
        halves = QSplitter(Qt.Orientation.Horizontal, self)
        halves.setChildrenCollapsible(False)
        halves.setHandleWidth(space(2))
        halves.addWidget(left)
        halves.addWidget(scroll)
        halves.setStretchFactor(0, 9)
        halves.setStretchFactor(1, 11)
        width = self.sizeHint().width()
        halves.setSizes([width * 9 // 20, width * 11 // 20])
        buttons = QHBoxLayout()
        buttons.setSpacing(space(1))
        buttons.addWidget(self.progress_text, 1)
        buttons.addWidget(self.stop_button)
        buttons.addWidget(self.close_button)
        buttons.addWidget(self.load_button)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(space(2), space(2), space(2), space(2))
        whole.setSpacing(space(1.5))
        whole.addWidget(halves, 1)
        whole.addWidget(self.progress)
        whole.addLayout(buttons)

    def _connect(self) -> None:
        state, models = self._state, self._models
        self.name_field.textEdited.connect(self._on_name_edited)
        self.name_field.returnPressed.connect(self._on_name_entered)
        self.browse_button.clicked.connect(self._on_browse)
        self.list.picked.connect(self._on_picked)
        self.list.opened.connect(self._on_opened)
        self.options.changed.connect(self._update_buttons)
        self.stop_button.clicked.connect(self._on_stop)
        self.close_button.clicked.connect(self.close)
        self.load_button.clicked.connect(self._on_load)
        models.surroundings_changed.connect(self._update_surroundings)
        models.looked_changed.connect(self._update_looked)
        models.loading_changed.connect(self._on_loading_changed)
        models.download_changed.connect(self._update_progress)
        models.refusal_changed.connect(self._on_refusal_changed)
        state.model_changed.connect(self._on_model_changed)
        self._theme.changed.connect(self._update_all)

    def sizeHint(self) -> QSize:
        """Room for the longest sheet of facts, within a small projector's screen."""
        wanted = QSize(self._theme.space(150), self._theme.space(96))
        return wanted.boundedTo(self.screen().availableSize() * 0.92)

    # -- gestures -------------------------------------------------------------------------------------------

    def showEvent(self, event: QShowEvent) -> None:
        """Look at the machine anew: what is free changes."""
        super().showEvent(event)
        self._models.surroundings_requested.emit()
        model = self._state.model
        if not self.name() and model is not None:
            self.choose(model.name if model.bundled else model.source)
        else:
            self._look()
        self.list.setFocus()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Enter in the list loads what is chosen; elsewhere it is not for a button that was not pressed."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            return
        super().keyPressEvent(event)

    def name(self) -> str:
        """The model that the dialog is about."""
        return self.name_field.text().strip()

    def choose(self, name: str) -> None:
        """Be about this model, and look at it."""
        self.name_field.setText(name)
        self.list.choose(name)
        self._look()

    def _on_name_edited(self) -> None:
        self.list.choose(self.name())
        self._look_pause.start()
        self._update_looked()

    def _on_name_entered(self) -> None:
        looked = self._models.looked
        if looked is not None and looked.name == self.name() and self.load_button.isEnabled():
            self._on_load()
        else:
            self._look()

    def _on_browse(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "A folder that holds a model (config.json)")
        if folder:
            self.choose(folder)

    def _on_picked(self, name: str) -> None:
        self.name_field.setText(name)
        self._look()

    def _on_opened(self, name: str) -> None:
        if name == self.name() and self.load_button.isEnabled():
            self._on_load()

    def _look(self) -> None:
        self._look_pause.stop()
        if self.name():
            self._models.set_refusal(None)
            self._models.look_requested.emit(self.name())
        self._update_looked()

    def _on_load(self) -> None:
        self._asked = True
        self._models.load_requested.emit(self.options.request(self.name()))

    def _on_stop(self) -> None:
        self._asked = False
        self._models.cancel_requested.emit()

    def _on_refusal_changed(self) -> None:
        if self._models.refusal is not None:
            self._asked = False
        self._update_looked()

    def _on_model_changed(self) -> None:
        if self._asked and self._state.model is not None:
            self._asked = False
            self.close()
        self._update_list()
        self._update_looked()

    def _on_loading_changed(self) -> None:
        if self._models.loading is None and self.isVisible():
            # What is free, and what is left to fetch, is not what it was.
            self._models.surroundings_requested.emit()
            self._look()
        self._update_progress()
        self._update_buttons()

    # -- showing ---------------------------------------------------------------------------------------------

    def _update_all(self) -> None:
        self._update_list()
        self._update_surroundings()
        self._update_looked()
        self._update_progress()

    def _update_list(self) -> None:
        self.list.set_groups(self._groups())
        self.list.choose(self.name())

    def _groups(self) -> Iterator[tuple[str, list[Entry]]]:
        good_for = {suggestion.name: suggestion.good_for for suggestion in SUGGESTIONS}
        surroundings = self._models.surroundings
        cached = () if surroundings is None else surroundings.cached
        yield (
            "Comes with the program",
            [Entry(name, name, _BUNDLED_ABOUT.get(name, "")) for name in self._bundled],
        )
        yield "Opened lately", [_recent_entry(name, good_for) for name in self._recent]
        yield (
            "Downloaded",
            [Entry(name, name, good_for.get(name, "")) for name in cached if name not in self._recent],
        )
        yield (
            "On the Hugging Face hub",
            [
                Entry(s.name, s.name, f"{s.good_for} · {_size(s.millions)}")
                for s in SUGGESTIONS
                if s.name not in self._recent and s.name not in cached
            ],
        )

    def _update_surroundings(self) -> None:
        surroundings = self._models.surroundings
        self.options.set_surroundings(surroundings, self._models.wanted)
        offline = "" if surroundings is None else surroundings.offline
        self.offline.setText(
            f"{offline[0].upper()}{offline[1:]}. What is downloaded or in a folder opens all the same."
            if offline
            else ""
        )
        self.offline.setVisible(bool(offline))
        self.offline.setStyleSheet(f"color: {self._theme.palette.selection};")
        self._update_list()
        self._update_buttons()

    def _update_looked(self) -> None:
        looked, name = self._models.looked, self.name()
        refusal = self._models.refusal
        here = looked is not None and looked.name == name
        facts = looked.facts if looked is not None and here else None
        problem = looked.problem if looked is not None and here else ""
        if refusal is not None and refusal.request.name == name:
            problem = refusal.text
        self.title.setText(_short_name(name) or "No model chosen")
        waiting = bool(name) and facts is None and not problem
        self.problem.setText("Looking …" if waiting else problem)
        self.problem.setVisible(bool(waiting or problem))
        color = self._theme.palette.muted if waiting else self._theme.palette.error
        self.problem.setStyleSheet(f"color: {color};")
        self.facts.set_facts(facts)
        self.options.set_facts(facts, self._state.model)
        self.options.setVisible(facts is not None)
        self._line.setVisible(facts is not None)
        self._line.setStyleSheet(f"color: {self._theme.palette.grid};")
        self._update_buttons()

    def _update_buttons(self) -> None:
        looked, loading = self._models.looked, self._models.loading
        facts = looked.facts if looked is not None and looked.name == self.name() else None
        options = self.options
        ready = facts is not None and loading is None and options.fits() and options.allowed()
        self.load_button.setEnabled(ready)
        text = "Load"
        if facts is not None and facts.place == "hub":
            text = f"Download {in_bytes(facts.download_bytes)} and load"
        elif options.must_unload() and self._state.model is not None:
            text = f"Unload {self._state.model.name} and load"
        self.load_button.setText(text)
        self.stop_button.setVisible(self._models.download is not None)

    def _update_progress(self) -> None:
        loading, download = self._models.loading, self._models.download
        self.progress.setVisible(loading is not None)
        if download is not None:
            self.progress.setRange(0, 1000)
            self.progress.setValue(round(download.fraction * 1000))
            self.progress_text.setText(progress_sentence(download))
        else:
            self.progress.setRange(0, 0)
            self.progress_text.setText("" if loading is None else f"Loading {_short_name(loading.name)} …")
        self.stop_button.setVisible(download is not None)


def progress_sentence(download: DownloadProgress) -> str:
    """How far, how fast, and how much longer."""
    parts = [
        f"{in_bytes(download.done_bytes)} of {in_bytes(download.total_bytes)}",
        f"{in_bytes(download.bytes_per_second)}/s",
    ]
    if download.seconds_left is not None:
        parts.append(f"{in_time(download.seconds_left)} left")
    return f"{download.file}: {', '.join(parts)}"


def _recent_entry(name: str, good_for: dict[str, str]) -> Entry:
    path = PurePath(name)
    if path.is_absolute():
        return Entry(name, path.name, str(path.parent))
    return Entry(name, name, good_for.get(name, ""))


def _size(millions: int) -> str:
    return f"{millions} M" if millions < 1000 else f"{millions / 1000:.1f} B"


def _short_name(name: str) -> str:
    path = PurePath(name)
    return path.name if path.is_absolute() else name
