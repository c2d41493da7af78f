"""``explorer screenshot``: the whole window, or one panel, after a run; works with no screen."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

from PySide6.QtCore import QBuffer, QByteArray, QIODevice, QObject, QSize, QTimer
from PySide6.QtWidgets import QApplication, QWidget

from explorer.app.settings import Settings, write_atomically
from explorer.commands import options
from explorer.commands.application import make_application, no_screen
from explorer.commands.window import Parts, build
from explorer.core.selection import HeadRef, Selection, TokenRef
from explorer.core.stopping import Stopping

if TYPE_CHECKING:
    from explorer.panels.generation_panel import GenerationPanel

# Room for what the last result set off on the GUI thread: label placement, layout, fonts.
SETTLE_MS = 250
SHOWN_BEAMS = 4


def run(arguments: argparse.Namespace) -> int:
    """Render the window after the run and write it as a PNG.

    Raises
    ------
    ValueError, OSError
        Bad options, a model that cannot be loaded, or a file that cannot be written.
    """
    text, params = options.text(arguments), options.sampling_params(arguments)
    size, selection, head = _size(arguments.size), _selection(arguments.select), _head(arguments.head)
    out = Path(arguments.out)
    _check_writable(out)
    if no_screen():
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
    app = make_application()
    settings = Settings(scheme=arguments.scheme or "light")
    parts = build(app, settings, None, arguments, size.height())
    subject: QWidget = parts.window
    if arguments.panel:
        subject = _only(parts, arguments.panel)
    parts.window.resize(size)
    parts.window.show()
    if not arguments.panel:
        parts.window.reset_layout()  # proportions for this size
    parts.state.set_sampling(params)
    parts.state.generation.set_stopping(Stopping(arguments.max_new_tokens))
    if arguments.view:
        cast("GenerationPanel", parts.window.panels["generation"]).show_view(arguments.view)
    model = arguments.model or options.DEFAULT_MODEL
    shot = _Shot(parts, app, text, selection, head, model, beams=arguments.view == "beams")
    app.exec()
    if shot.problem:
        parts.window.close()
        raise ValueError(shot.problem)
    content = _png(subject)
    parts.window.close()
    write_atomically(out, content)
    print(f"{parts.state.run.text if parts.state.run else ''}\nwritten to {out}")
    return 0


class _Shot(QObject):
    """Load, run, select, one after another, each when the worker has nothing left to do."""

    def __init__(
        self,
        parts: Parts,
        app: QApplication,
        text: str,
        selection: Selection,
        head: HeadRef | None,
        model: str,
        *,
        beams: bool = False,
    ) -> None:
        super().__init__()
        self.problem = ""
        self._parts = parts
        self._app = app
        self._selection = selection
        self._head = head
        generate = self._search if beams else self._finish
        self._todo: list[Callable[[], None]] = [generate, self._point, self._wait]
        parts.state.notice_changed.connect(self._on_notice_changed)
        parts.controller.settled.connect(self._on_settled)
        parts.state.set_source_text(text)
        QTimer.singleShot(0, lambda: parts.controller.load(model))

    def _on_notice_changed(self) -> None:
        notice = self._parts.state.notice
        if notice is not None and notice.error:
            self.problem = notice.text
            self._app.quit()

    def _on_settled(self) -> None:
        # A step that gives the worker nothing to do is followed by the next at once.
        while self._todo and not self.problem and self._parts.controller.idle:
            self._todo.pop(0)()

    def _finish(self) -> None:
        self._parts.state.finish_requested.emit()

    def _search(self) -> None:
        self._parts.state.generation.beams_requested.emit(SHOWN_BEAMS)

    def _point(self) -> None:
        state = self._parts.state
        if self._head is not None:
            state.set_head(self._head)
        missing = [ref for ref in self._selection.refs if state.token_id(ref) is None]
        if missing:
            self.problem = f"--select: there is no {missing[0].side} token {missing[0].index} in this run."
            self._app.quit()
            return
        state.set_selection(self._selection)

    def _wait(self) -> None:
        QTimer.singleShot(SETTLE_MS, self._app.quit)


def _only(parts: Parts, panel: str) -> QWidget:
    for name, dock in parts.window.docks.items():
        dock.setVisible(name == panel)
    return parts.window.docks[panel]


def _png(widget: QWidget) -> bytes:
    content = QByteArray()
    buffer = QBuffer(content)
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    if not widget.grab().save(buffer, "PNG"):
        raise OSError("The picture could not be encoded as PNG.")
    return bytes(content.data())


def _check_writable(out: Path) -> None:
    if out.is_dir():
        raise ValueError(f"{out} is a folder; give --out the name of a PNG file.")
    if not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
        raise OSError(f"The folder {out.parent} does not exist or cannot be written.")


def _size(text: str) -> QSize:
    match = re.fullmatch(r"(\d{3,5})x(\d{3,5})", text)
    if match is None:
        raise ValueError(f"--size must look like 1366x768, not {text!r}.")
    return QSize(int(match[1]), int(match[2]))


def _selection(text: str) -> Selection:
    refs = []
    for part in filter(None, text.split(",")):
        match = re.fullmatch(r"(source|start|generated|vocabulary):(\d+)", part)
        if match is None:
            raise ValueError(f"--select takes e.g. source:3 or source:3,generated:3, not {text!r}.")
        refs.append(TokenRef(match[1], int(match[2])))  # type: ignore[arg-type]
    return Selection.of(refs)


def _head(text: str) -> HeadRef | None:
    if not text:
        return None
    match = re.fullmatch(r"(encoder|decoder|cross):(\d+):(\d+)", text)
    if match is None:
        raise ValueError(f"--head takes e.g. cross:2:7, not {text!r}.")
    return HeadRef(match[1], int(match[2]), int(match[3]))  # type: ignore[arg-type]
