from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from explorer.app.settings import Settings


def explorer(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {
        name: value
        for name, value in os.environ.items()
        if name not in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    }
    command = [sys.executable, *options]
    return subprocess.run(
        command, env={**clean, **environment}, capture_output=True, text=True, timeout=300, check=False
    )


def test_that_without_a_screen_one_line_points_at_what_works() -> None:
    done = explorer("-m", "explorer")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "no screen" in done.stderr
    assert "trace" in done.stderr
    assert "screenshot" in done.stderr


OPEN_AND_CLOSE = """
import sys
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication
from explorer.__main__ import main
from explorer.main_window import MainWindow

def look():
    windows = [w for w in QApplication.topLevelWidgets() if isinstance(w, MainWindow) and w.isVisible()]
    if windows and windows[0].top_bar.step_button.isEnabled():
        print("ready", windows[0].windowTitle())
        windows[0].close()

timer = QTimer()
timer.timeout.connect(look)
single_shot = QTimer.singleShot

def start_looking_too(*arguments):
    # The first of these comes when there is an application to look at.
    timer.start(50)
    single_shot(*arguments)

QTimer.singleShot = start_looking_too
sys.exit(main(["--device", "cpu"]))
"""


def test_that_the_window_opens_on_the_bundled_model_and_closes_cleanly(tmp_path: Path) -> None:
    settings = tmp_path / "settings.json"
    done = explorer(
        "-c", OPEN_AND_CLOSE, QT_QPA_PLATFORM="offscreen", TRANSFORMER_EXPLORER_SETTINGS=str(settings)
    )
    assert done.returncode == 0, done.stderr
    assert "ready fr-en" in done.stdout
    assert "Traceback" not in done.stderr
    assert Settings.load(settings).model == "fr-en"


def test_that_a_remembered_model_that_is_gone_gives_way_to_the_bundled_one(tmp_path: Path) -> None:
    settings = tmp_path / "settings.json"
    Settings(model="/gone/for/good").save(settings)
    done = explorer(
        "-c", OPEN_AND_CLOSE, QT_QPA_PLATFORM="offscreen", TRANSFORMER_EXPLORER_SETTINGS=str(settings)
    )
    assert done.returncode == 0, done.stderr
    assert "ready fr-en" in done.stdout
