"""The Qt application, for every command that needs one."""

from __future__ import annotations

import os
import sys
from typing import cast

from PySide6.QtCore import QCoreApplication, Qt
from PySide6.QtWidgets import QApplication


def no_screen() -> bool:
    """Whether a window could not be shown: Linux, no display, and no platform chosen by hand."""
    return sys.platform == "linux" and not any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    )


def make_application() -> QApplication:
    """The Qt application, with what must be set before it exists."""
    # Otherwise a second OpenGL view, or a floated dock, stays blank.
    QCoreApplication.setAttribute(Qt.ApplicationAttribute.AA_ShareOpenGLContexts)
    app = cast(QApplication, QApplication.instance() or QApplication(sys.argv[:1]))
    app.setApplicationName("transformer-explorer")
    app.setApplicationDisplayName("Transformer explorer")
    return app
