from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from explorer.app.settings import Settings
from explorer.commands.window import Parts, build

TIMEOUT_MS = 60_000


@pytest.fixture
def settings_path(tmp_path: Path) -> Path:
    return tmp_path / "settings.json"


@pytest.fixture
def open_window(qapp: QApplication, qtbot: QtBot, settings_path: Path) -> Iterator[Callable[..., Parts]]:
    """Opens real windows, as the command does, and closes them at the end."""
    opened: list[Parts] = []

    def open_it(*, load: bool = True, text: str = "J'aime l'apprentissage automatique.") -> Parts:
        arguments = argparse.Namespace(
            scheme="light",
            classroom=False,
            device="cpu",
            dtype="auto",
            allow_pickle=False,
            source_language=None,
            target_language=None,
        )
        parts = build(qapp, Settings.load(settings_path), settings_path, arguments)
        opened.append(parts)
        parts.window.show()
        qtbot.waitExposed(parts.window)
        parts.state.set_source_text(text)
        if load:
            parts.controller.load("fr-en")
            settle(qtbot, parts)
        return parts

    yield open_it
    for parts in opened:
        parts.window.close()
        parts.window.deleteLater()
        parts.state.deleteLater()


def settle(qtbot: QtBot, parts: Parts) -> None:
    """Wait until the worker has nothing left to do."""
    if not parts.controller.idle:
        with qtbot.waitSignal(parts.controller.settled, timeout=TIMEOUT_MS):
            pass
