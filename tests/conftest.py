"""Shared fixtures.

Thread counts are set before numpy is imported: threaded BLAS collapses under contention.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from collections.abc import Iterator

import pytest
from PySide6.QtCore import QCoreApplication, QEvent, QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from explorer.app.state import AppState
from explorer.theme import Theme

# Without this, set before the application exists, a second OpenGL view stays blank.
QCoreApplication.setAttribute(Qt.ApplicationAttribute.AA_ShareOpenGLContexts)


@pytest.fixture
def theme(qapp: QApplication) -> Iterator[Theme]:
    """A light theme at scale 1, so that pictures do not depend on the machine's scheme."""
    theme = Theme(qapp, scheme="light")
    yield theme
    theme.deleteLater()
    # Without an event loop nobody deletes the closed widgets, and every later theme restyles them all.
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


@pytest.fixture
def state(qapp: QApplication) -> Iterator[AppState]:
    state = AppState()
    yield state
    state.deleteLater()


@pytest.fixture(autouse=True)
def _pointer_without_the_x_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deliver pointer moves at once: Qt's own move for widgets asks the X server, which answers when it likes."""

    def move(widget: QWidget, pos: QPoint | None = None, delay: int = -1) -> None:
        window = widget.window()
        place = widget.rect().center() if pos is None else pos
        QTest.mouseMove(window.windowHandle(), widget.mapTo(window, place), delay)

    monkeypatch.setattr(QtBot, "mouseMove", staticmethod(move))
