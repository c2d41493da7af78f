"""Shared fixtures.

Thread counts are set before numpy is imported: threaded BLAS collapses under contention.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from collections.abc import Iterator
from typing import Any

import pytest
import shiboken6
from PySide6.QtCore import QCoreApplication, QEvent, QPoint, Qt
from PySide6.QtGui import QEnterEvent, QMouseEvent
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
    """Deliver pointer moves at once: Qt's own move asks the X server, which answers when it likes."""
    held = [Qt.MouseButton.NoButton]
    over: list[QWidget | None] = [None]
    press, release = QtBot.mousePress, QtBot.mouseRelease

    def press_and_note(widget: QWidget, button: Qt.MouseButton, *rest: Any, **named: Any) -> None:
        held[0] = button
        press(widget, button, *rest, **named)

    def release_and_note(*rest: Any, **named: Any) -> None:
        held[0] = Qt.MouseButton.NoButton
        release(*rest, **named)

    def move(widget: QWidget, pos: QPoint | None = None, delay: int = -1) -> None:
        place = widget.rect().center() if pos is None else pos
        if over[0] is not widget:
            if over[0] is not None and shiboken6.isValid(over[0]):
                QApplication.sendEvent(over[0], QEvent(QEvent.Type.Leave))
            over[0] = widget
            where = widget.mapToGlobal(place).toPointF()
            QApplication.sendEvent(widget, QEnterEvent(place.toPointF(), place.toPointF(), where))
        event = QMouseEvent(
            QEvent.Type.MouseMove,
            place.toPointF(),
            widget.mapToGlobal(place).toPointF(),
            Qt.MouseButton.NoButton,
            held[0],
            Qt.KeyboardModifier.NoModifier,
        )
        QApplication.sendEvent(widget, event)
        if delay > 0:
            QTest.qWait(delay)

    monkeypatch.setattr(QtBot, "mousePress", staticmethod(press_and_note))
    monkeypatch.setattr(QtBot, "mouseRelease", staticmethod(release_and_note))
    monkeypatch.setattr(QtBot, "mouseMove", staticmethod(move))
