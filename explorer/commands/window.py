"""The window itself, and how it is built from its parts."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication

from explorer.app.controller import Controller, ModelOptions
from explorer.app.settings import Settings, settings_file
from explorer.app.state import AppState
from explorer.commands import options
from explorer.commands.application import make_application, no_screen
from explorer.main_window import MainWindow
from explorer.resources import bundled_models
from explorer.theme import SchemeChoice, Theme, classroom_scale


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
    path = settings_file()
    settings = Settings.load(path)
    parts = build(app, settings, path, arguments)
    parts.controller.install_error_hooks()
    parts.window.show()
    parts.state.set_source_text(options.DEFAULT_TEXT if arguments.text is None else arguments.text)
    # The window is painted first; torch is imported by the worker after that.
    QTimer.singleShot(0, lambda: parts.controller.load(arguments.model or settings.model))
    return app.exec()


def build(
    app: QApplication,
    settings: Settings,
    path: Path | None,
    arguments: argparse.Namespace,
    height: int | None = None,
) -> Parts:
    """Put the window together; nothing is loaded yet. ``height`` is the screen's unless given."""
    height = app.primaryScreen().size().height() if height is None else height
    scheme = arguments.scheme or settings.scheme
    scale = classroom_scale(height) if arguments.classroom else settings.scale
    theme = Theme(app, scheme=cast(SchemeChoice, scheme), scale=scale)
    state = AppState()
    controller = Controller(state, ModelOptions(arguments.device, arguments.dtype, settings.thread_count()))
    window = MainWindow(state, controller, theme, settings, path, bundled_models())
    return Parts(state, controller, theme, window)
