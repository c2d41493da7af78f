"""The window: five docks, the bars around them, and the one block of connections."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QByteArray, QSize, Qt
from PySide6.QtGui import QAction, QActionGroup, QCloseEvent, QKeyEvent, QKeySequence
from PySide6.QtWidgets import (
    QDockWidget,
    QFileDialog,
    QHBoxLayout,
    QMainWindow,
    QMenu,
    QMessageBox,
    QToolBar,
    QVBoxLayout,
    QWidget,
)

from explorer.app.controller import Controller
from explorer.app.settings import Settings
from explorer.app.state import AppState, Notice
from explorer.panels.attention_panel import AttentionPanel
from explorer.panels.bars.activity_line import ActivityLine
from explorer.panels.bars.dock_title import DockTitle
from explorer.panels.bars.moment_line import MomentLine
from explorer.panels.bars.notice_bar import NoticeBar
from explorer.panels.bars.pipeline_strip import PipelineStrip
from explorer.panels.bars.play_bar import PlayBar
from explorer.panels.bars.stop_dialog import StopDialog
from explorer.panels.bars.top_bar import TopBar
from explorer.panels.embedding_panel import EmbeddingPanel
from explorer.panels.generation_panel import GenerationPanel
from explorer.panels.models.model_dialog import ModelDialog
from explorer.panels.softmax_panel import SoftmaxPanel
from explorer.panels.token_panel import TokenPanel
from explorer.panels.widgets.panel import Panel
from explorer.theme import SchemeChoice, Theme, classroom_scale

# The names are those of `screenshot --panel`.
PANELS: dict[str, type[Panel]] = {
    "tokens": TokenPanel,
    "generation": GenerationPanel,
    "embedding": EmbeddingPanel,
    "attention": AttentionPanel,
    "softmax": SoftmaxPanel,
}
DEFAULT_SIZE = QSize(1366, 768)
# Bumped when docks are added or renamed: an older arrangement would not fit.
LAYOUT_VERSION = 1
SCALE_STEP = 1.1
ABOUT = (
    "Transformer explorer\n\n"
    "Watch a real transformer work: every number on screen is read from the running model.\n\n"
    "The bundled models were trained on sentence pairs from the Tatoeba project (tatoeba.org) "
    "by way of manythings.org/anki, CC-BY 2.0."
)
SHORTCUTS = (
    "Enter in the text field\trun to the end\n"
    "Ctrl+Right\tone step\n"
    "Ctrl+Left\tone step back\n"
    "Ctrl+R\treset\n"
    "F5\tplay, pause\n"
    "Alt+Right, Alt+Left\tinside the step: one moment on, back\n"
    "Arrows, F2 in the tree\twalk along a branch and to the next one; name it\n"
    "Left, Right\tselect the token before or after\n"
    "Ctrl+click\tselect a second token: a pair\n"
    "Escape\tselect nothing\n"
    "Ctrl+L\tto the text field\n"
    "Ctrl+O\tchoose a model\n"
    "Ctrl++, Ctrl+-, Ctrl+0\tlarger, smaller, normal size"
)


class MainWindow(QMainWindow):
    """Builds the docks and holds the connections between state, theme, settings and bars.

    Parameters
    ----------
    state, controller, theme, settings
        What the window shows, who answers to it, and how it looks.
    settings_path : Path or None
        Where the arrangement is saved on closing; None saves nothing.
    models : tuple of str
        Names of the bundled models.
    """

    def __init__(
        self,
        state: AppState,
        controller: Controller,
        theme: Theme,
        settings: Settings,
        settings_path: Path | None,
        models: tuple[str, ...],
    ) -> None:
        super().__init__()
        self.setWindowTitle("Transformer explorer")
        self.setDockOptions(
            QMainWindow.DockOption.AnimatedDocks
            | QMainWindow.DockOption.AllowNestedDocks
            | QMainWindow.DockOption.AllowTabbedDocks
        )
        self._state = state
        self._controller = controller
        self._theme = theme
        self._settings = settings
        self._settings_path = settings_path
        self._bundled = models
        self.model_dialog: ModelDialog | None = None
        self.top_bar = TopBar(state, theme, self._model_names())
        self.play_bar = PlayBar(state, theme)
        self.panels: dict[str, Panel] = {}
        self.docks: dict[str, QDockWidget] = {}
        for name, panel_class in PANELS.items():
            self._add_panel(name, panel_class(state, theme))
        self._build_bars()
        self._build_menus()
        self._connect()
        self.resize(self._fitting_size())
        self.reset_layout()
        self._restore_layout()

    # -- building -----------------------------------------------------------------------------------

    def _add_panel(self, name: str, panel: Panel) -> None:
        dock = QDockWidget(panel.title, self)
        dock.setObjectName(f"{name}_dock")
        dock.setWidget(panel)
        dock.setTitleBarWidget(DockTitle(dock, panel, self._theme))
        self.panels[name] = panel
        self.docks[name] = dock

    def _build_bars(self) -> None:
        bars = QWidget(self)
        column = QVBoxLayout(bars)
        space = self._theme.space
        column.setContentsMargins(space(1.5), space(1), space(1.5), space(0.5))
        column.setSpacing(space(1))
        column.addWidget(self.top_bar)
        column.addWidget(NoticeBar(self._state, self._theme, bars))
        row = QHBoxLayout()
        row.setSpacing(space(1.5))
        row.addWidget(PipelineStrip(self._state, self._theme, bars), 1)
        row.addWidget(self.play_bar, 0, Qt.AlignmentFlag.AlignTop)
        column.addLayout(row)
        toolbar = QToolBar("Model, text and steps", self)
        toolbar.setObjectName("bars")
        toolbar.setMovable(False)
        toolbar.toggleViewAction().setEnabled(False)
        toolbar.addWidget(bars)
        self.addToolBar(toolbar)
        self.statusBar().setSizeGripEnabled(False)
        self.statusBar().addWidget(ActivityLine(self._state, self._theme), 1)
        self.statusBar().addPermanentWidget(MomentLine(self._state, self._theme))

    def _build_menus(self) -> None:
        state = self._state
        model = self.menuBar().addMenu("&Model")
        self._action(model, "&Choose a model …", self.show_models, QKeySequence.StandardKey.Open)
        model.addSeparator()
        self._action(model, "&Save a picture of the window …", self._on_picture_wanted, "Ctrl+Shift+S")
        model.addSeparator()
        self._action(model, "&Quit", self.close, QKeySequence.StandardKey.Quit)
        run = self.menuBar().addMenu("&Run")
        self._action(run, "&Step", state.step_requested.emit, "Ctrl+Right")
        self._action(run, "&Back", state.back_requested.emit, "Ctrl+Left")
        self._action(run, "&Run to the end", state.finish_requested.emit, "Ctrl+Return")
        self._action(run, "S&top", state.stop_requested.emit, "Ctrl+.")
        self._action(run, "R&eset", state.reset_requested.emit, "Ctrl+R")
        run.addSeparator()
        move = state.generation.moment_move_requested.emit
        self._action(run, "&Play or pause", self.play_bar.toggle, "F5")
        self._action(run, "&Inside the step: on", lambda: move(1), "Alt+Right")
        self._action(run, "I&nside the step: back", lambda: move(-1), "Alt+Left")
        run.addSeparator()
        self._action(run, "&When a run ends …", self._on_stopping_wanted)
        self._action(run, "To the te&xt field", self._on_text_field_wanted, "Ctrl+L")
        self._build_view_menu()
        help_menu = self.menuBar().addMenu("&Help")
        self._action(help_menu, "&Keyboard", lambda: self._tell("Keyboard", SHORTCUTS), "F1")
        self._action(help_menu, "&About", lambda: self._tell("About", ABOUT))

    def _build_view_menu(self) -> None:
        view = self.menuBar().addMenu("&View")
        for dock in self.docks.values():
            view.addAction(dock.toggleViewAction())
        view.addSeparator()
        self._action(view, "&Reset layout", self.reset_layout)
        self._action(view, "&Full screen", self._toggle_full_screen, "F11")
        view.addSeparator()
        schemes = QActionGroup(self)
        choices: tuple[tuple[SchemeChoice, str], ...] = (
            ("system", "Colours of the s&ystem"),
            ("light", "&Light"),
            ("dark", "&Dark"),
        )
        for scheme, text in choices:
            action = self._action(view, text, lambda _=False, scheme=scheme: self._theme.set_scheme(scheme))
            action.setCheckable(True)
            action.setChecked(self._theme.scheme == scheme)
            schemes.addAction(action)
        view.addSeparator()
        self._action(view, "L&arger", lambda: self._zoom(SCALE_STEP), QKeySequence.StandardKey.ZoomIn)
        self._action(view, "S&maller", lambda: self._zoom(1 / SCALE_STEP), QKeySequence.StandardKey.ZoomOut)
        self._action(view, "&Normal size", lambda: self._theme.set_scale(1.0), "Ctrl+0")
        self._action(
            view, "&Classroom size", lambda: self._theme.set_scale(self._classroom_scale()), "Ctrl+9"
        )

    def _action(
        self,
        menu: QMenu,
        text: str,
        call: Callable[..., object],
        keys: str | QKeySequence.StandardKey | None = None,
    ) -> QAction:
        action = QAction(text, self)
        action.triggered.connect(call)
        if keys is not None:
            action.setShortcut(QKeySequence(keys))
        menu.addAction(action)
        return action

    def _connect(self) -> None:
        """All connections of the window itself; panels watch the state on their own."""
        self.top_bar.dialog_wanted.connect(self.show_models)
        self._state.model_changed.connect(self._on_model_changed)
        self._state.selection_changed.connect(self._on_selection_changed)

    # -- the arrangement ------------------------------------------------------------------------------

    def reset_layout(self) -> None:
        """Put all five docks back where they belong: tokens and steps, vectors, attention; softmax below."""
        docks = self.docks
        for dock in docks.values():
            dock.setFloating(False)  # before it is removed: a dock without a place stays floating
            self.removeDockWidget(dock)
        tokens, generation, softmax = docks["tokens"], docks["generation"], docks["softmax"]
        embedding, attention = docks["embedding"], docks["attention"]
        for corner in (Qt.Corner.BottomLeftCorner, Qt.Corner.BottomRightCorner):
            self.setCorner(corner, Qt.DockWidgetArea.BottomDockWidgetArea)
        self.addDockWidget(Qt.DockWidgetArea.TopDockWidgetArea, tokens)
        self.splitDockWidget(tokens, embedding, Qt.Orientation.Horizontal)
        self.splitDockWidget(embedding, attention, Qt.Orientation.Horizontal)
        self.splitDockWidget(tokens, generation, Qt.Orientation.Vertical)
        self.addDockWidget(Qt.DockWidgetArea.BottomDockWidgetArea, softmax)
        for dock in docks.values():
            dock.show()
        width, height = self.width(), self.height()
        columns = [width * 36 // 100, width * 31 // 100, width * 33 // 100]
        self.resizeDocks([tokens, embedding, attention], columns, Qt.Orientation.Horizontal)
        # The softmax panel needs its controls' height and no more; the rest goes to the pictures.
        below = max(height * 30 // 100, self._theme.space(41))
        bars = self._theme.space(22)
        left = height - below - bars
        # A sentence's chips need so much; what a taller window adds goes to the steps below them.
        above = min(left // 2, max(self._theme.space(35), left * 38 // 100))
        rows = [above, left - above, below]
        self.resizeDocks([tokens, generation, softmax], rows, Qt.Orientation.Vertical)

    def _classroom_scale(self) -> float:
        return classroom_scale(self.screen().size().height())

    def _fitting_size(self) -> QSize:
        """Nine tenths of the screen, but not below the size that everything is laid out for."""
        return (self.screen().availableSize() * 0.9).expandedTo(DEFAULT_SIZE)

    def _restore_layout(self) -> None:
        if self._settings.geometry:
            self.restoreGeometry(_unpack(self._settings.geometry))
        if self._settings.layout and not self.restoreState(_unpack(self._settings.layout), LAYOUT_VERSION):
            self.reset_layout()

    def _toggle_full_screen(self) -> None:
        if self.isFullScreen():
            self.showNormal()
        else:
            self.showFullScreen()

    def _zoom(self, factor: float) -> None:
        self._theme.set_scale(self._theme.scale * factor)

    # -- what the bars ask for ---------------------------------------------------------------------------

    def _model_names(self) -> list[str]:
        return [*self._bundled, *(name for name in self._settings.recent_models if name not in self._bundled)]

    def show_models(self) -> None:
        """Open the model dialog beside the window."""
        if self.model_dialog is None:
            # Made when it is first wanted: the window is on the screen sooner without it.
            self.model_dialog = ModelDialog(self._state, self._theme, self._bundled, self)
            self.model_dialog.set_recent(self._settings.recent_models)
        self.model_dialog.show()
        self.model_dialog.raise_()
        self.model_dialog.activateWindow()

    def _on_picture_wanted(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self, "Save a picture of the window", "explorer.png", "PNG (*.png)"
        )
        if path and not self.grab().save(path):
            self._state.set_notice(Notice(f"The picture could not be written to {path}."))

    def _on_stopping_wanted(self) -> None:
        dialog = StopDialog(self._state, self._theme, self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.open()

    def _on_text_field_wanted(self) -> None:
        self.top_bar.text_field.setFocus()
        self.top_bar.text_field.selectAll()

    def _on_model_changed(self) -> None:
        model = self._state.model
        if model is None:
            return
        if not model.bundled:
            self._settings.remember_model(model.source)
        self._settings.model = model.name if model.bundled else model.source
        self.top_bar.set_models(self._model_names())
        if self.model_dialog is not None:
            self.model_dialog.set_recent(self._settings.recent_models)
        self.setWindowTitle(f"{model.name} – Transformer explorer")

    def _on_selection_changed(self) -> None:
        # Arrow keys are for the selection once something is selected, not for the text's caret.
        if self._state.selection.refs and self.top_bar.text_field.hasFocus():
            self.setFocus()

    def _tell(self, title: str, text: str) -> None:
        box = QMessageBox(self)
        box.setWindowTitle(title)
        box.setTextFormat(Qt.TextFormat.PlainText)
        box.setText(text)
        box.open()

    # -- keys and closing ----------------------------------------------------------------------------------

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Keys that no widget with the focus wanted: arrows move the selection, Escape drops it."""
        moves = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}
        if event.key() in moves and not event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self._state.move_selection(moves[Qt.Key(event.key())])
        elif event.key() == Qt.Key.Key_Escape and self._state.generation.moment is not None:
            self._state.generation.set_moment(None)
        elif event.key() == Qt.Key.Key_Escape:
            self._state.select(None)
        else:
            super().keyPressEvent(event)

    def closeEvent(self, event: QCloseEvent) -> None:
        """Save the arrangement, cancel what is going on, and end the worker."""
        self._settings.geometry = bytes(self.saveGeometry().toBase64().data()).decode()
        self._settings.layout = bytes(self.saveState(LAYOUT_VERSION).toBase64().data()).decode()
        self._settings.scheme, self._settings.scale = self._theme.scheme, self._theme.scale
        if self._settings_path is not None:
            try:
                self._settings.save(self._settings_path)
            except OSError as error:
                # Nobody can read a notice in a window that closes.
                logging.getLogger(__name__).warning("The settings could not be saved: %s", error)
        # A pass through a large model ends at its next layer; the window need not stand there meanwhile.
        self.hide()
        self._controller.shut_down()
        super().closeEvent(event)


def _unpack(text: str) -> QByteArray:
    return QByteArray.fromBase64(QByteArray(text.encode()))
