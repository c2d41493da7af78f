"""The window itself, and how it is built from its parts.

Only Qt's widgets are imported before something is on the screen; numpy, OpenGL and the panels come
after that, torch and transformers last, on the worker's thread.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication, QLabel, QWidget

from explorer.commands import options
from explorer.commands.application import make_application, no_screen
from explorer.resources import bundled_models
from explorer.theme import DARK, LIGHT, SchemeChoice, Theme, classroom_scale

if TYPE_CHECKING:
    from explorer.app.controller import Controller
    from explorer.app.settings import Settings
    from explorer.app.state import AppState
    from explorer.main_window import MainWindow

# Time for the opening picture to be painted before the imports begin, which nothing can interrupt.
OPENING_MS = 50
_OPENING_SIZE = (480, 120)


@dataclass(frozen=True, slots=True)
class Parts:
    """A window and what it stands on, to be kept together."""

    state: AppState
    controller: Controller
    theme: Theme
    window: MainWindow


def run(arguments: argparse.Namespace) -> int:
    """Open the window and stay until it is closed."""
    if no_screen():
        raise ValueError(
            "There is no screen here (neither DISPLAY nor WAYLAND_DISPLAY is set); "
            "python -m explorer trace and python -m explorer screenshot work without one."
        )
    app = make_application()
    opening = opening_picture()
    opening.show()
    kept: list[Parts] = []

    def start() -> None:
        try:
            kept.append(open_window(app, arguments, opening))
        except BaseException:
            app.exit(1)  # else the opening picture would stand there for ever
            raise

    QTimer.singleShot(OPENING_MS, start)
    return app.exec()


def opening_picture() -> QLabel:
    """A small frameless window with the program's name, shown while the panels are imported.

    Not a QSplashScreen: that waits up to a second for itself to be mapped.
    """
    dark = QGuiApplication.styleHints().colorScheme() == Qt.ColorScheme.Dark
    palette = DARK if dark else LIGHT
    picture = QLabel("Transformer explorer\n\nStarting …")
    picture.setWindowFlags(Qt.WindowType.SplashScreen | Qt.WindowType.FramelessWindowHint)
    picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
    picture.setStyleSheet(f"background: {palette.surface}; color: {palette.text};")
    picture.resize(*_OPENING_SIZE)
    picture.move(picture.screen().availableGeometry().center() - picture.rect().center())
    return picture


def open_window(app: QApplication, arguments: argparse.Namespace, opening: QWidget) -> Parts:
    """Build the window, show it, and load the model behind it."""
    from explorer.app.settings import Settings, settings_file

    path = settings_file()
    settings = Settings.load(path)
    parts = build(app, settings, path, arguments)
    parts.controller.install_error_hooks()
    parts.window.show()
    opening.close()
    parts.state.set_source_text(options.DEFAULT_TEXT if arguments.text is None else arguments.text)
    # A model that was remembered may be gone, or out of reach: the notice says so over one that is there.
    parts.state.models.refusal_changed.connect(
        partial(fall_back, parts.state), Qt.ConnectionType.SingleShotConnection
    )
    QTimer.singleShot(0, partial(parts.controller.load, arguments.model or settings.model))
    return parts


def fall_back(state: AppState) -> None:
    """Open the program's own model where the first one could not be opened."""
    if state.model is None and state.models.refusal is not None:
        state.languages.ask(None, None)  # these were for the one that is not there
        state.model_requested.emit(options.DEFAULT_MODEL)


def build(
    app: QApplication,
    settings: Settings,
    path: Path | None,
    arguments: argparse.Namespace,
    height: int | None = None,
) -> Parts:
    """Put the window together; nothing is loaded yet. ``height`` is the screen's unless given."""
    from explorer.app.controller import Controller, ModelOptions
    from explorer.app.state import AppState
    from explorer.main_window import MainWindow

    height = app.primaryScreen().size().height() if height is None else height
    scheme = arguments.scheme or settings.scheme
    scale = classroom_scale(height) if arguments.classroom else settings.scale
    theme = Theme(app, scheme=cast(SchemeChoice, scheme), scale=scale)
    state = AppState()
    state.languages.ask(arguments.source_language, arguments.target_language)
    model_options = ModelOptions(
        arguments.device, arguments.dtype, settings.thread_count(), arguments.allow_pickle
    )
    controller = Controller(state, model_options)
    window = MainWindow(state, controller, theme, settings, path, bundled_models())
    return Parts(state, controller, theme, window)
