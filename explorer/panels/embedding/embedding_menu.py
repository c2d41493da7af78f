"""The embedding panel's menu: colours, axes, and what can be saved."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from PySide6.QtCore import Signal
from PySide6.QtGui import QAction, QActionGroup
from PySide6.QtWidgets import QFileDialog, QMenu, QWidget

from explorer.app.state import AppState, Notice
from explorer.core.vectors import VECTOR_MODES, VectorMode
from explorer.panels.embedding import cloud_export
from explorer.panels.embedding.cloud_view import COLOR_MODES, WORDS

_AXES = ("to the right", "upwards", "towards you")


class EmbeddingMenu(QMenu):
    """What a person may choose about the picture.

    Signals
    -------
    color_chosen : str
        One of `COLOR_MODES`.
    mode_chosen : str
        How a pair is measured, one of `VECTOR_MODES`.
    axis_chosen : int, int
        Which axis, and its component (`WORDS` for the direction built from words).
    """

    color_chosen = Signal(str)
    mode_chosen = Signal(str)
    axis_chosen = Signal(int, int)

    def __init__(self, state: AppState, scene: QWidget) -> None:
        super().__init__(scene)
        self._state = state
        self._scene = scene
        self._words = ""
        self._components = 0
        self._chosen = [0, 1, 2]
        colors = self.addMenu("Colour tokens by")
        group = QActionGroup(colors)
        for mode, text in COLOR_MODES:
            action = colors.addAction(text)
            action.setObjectName(f"color_{mode}")
            action.setCheckable(True)
            action.setChecked(mode == "plain")
            action.triggered.connect(partial(self.color_chosen.emit, mode))
            group.addAction(action)
        self._axis_menus = [self.addMenu(f"Axis {name}") for name in _AXES]
        measured = self.addMenu("Measure pairs as")
        modes = QActionGroup(measured)
        self._modes: dict[VectorMode, QAction] = {}
        for name in VECTOR_MODES:
            action = measured.addAction(f"{name} vectors")
            action.setCheckable(True)
            action.triggered.connect(partial(self.mode_chosen.emit, name))
            modes.addAction(action)
            self._modes[name] = action
        self.addSeparator()
        self._add_saving()

    def set_mode(self, mode: VectorMode) -> None:
        """Show how pairs are measured; nothing is emitted."""
        self._modes[mode].setChecked(True)

    def set_components(self, count: int) -> None:
        """Another cloud: the first three components are in force."""
        self._components = count
        self._chosen = [0, 1, 2]
        self._fill_axes()

    def set_words(self, expression: str) -> None:
        """A direction was built from words, or with an empty text taken away."""
        self._words = expression
        self._fill_axes()

    def _fill_axes(self) -> None:
        if not self._components:
            return
        for axis, menu in enumerate(self._axis_menus):
            menu.clear()
            group = QActionGroup(menu)
            for component in (*range(self._components), WORDS):
                text = f"PC {component + 1}" if component != WORDS else f"Words: {self._words or '…'}"
                action = menu.addAction(text.replace("&", "&&"))
                action.setCheckable(True)
                action.setChecked(self._chosen[axis] == component)
                if component == WORDS:
                    action.setEnabled(bool(self._words))
                    action.setToolTip("Compute a sum of words first, e.g. king - queen")
                action.triggered.connect(partial(self._on_axis, axis, component))
                group.addAction(action)

    def _on_axis(self, axis: int, component: int) -> None:
        self._chosen[axis] = component
        self.axis_chosen.emit(axis, component)

    def _add_saving(self) -> None:
        entries = (
            ("Save the picture …", "embedding.png", "PNG (*.png)", self._save_picture),
            (
                "Save coordinates and lengths …",
                "embedding.csv",
                "CSV (*.csv);;NumPy (*.npz)",
                self._save_cloud,
            ),
            (
                "Save the selected token's neighbours …",
                "neighbours.csv",
                "CSV (*.csv)",
                self._save_neighbours,
            ),
        )
        self.save_actions: list[QAction] = []
        for text, name, kinds, save in entries:
            action = self.addAction(text)
            action.triggered.connect(partial(self._ask, text, name, kinds, save))
            self.save_actions.append(action)

    def _ask(self, title: str, name: str, kinds: str, save: Callable[[str], None]) -> None:
        path, _ = QFileDialog.getSaveFileName(self._scene, title.removesuffix(" …"), name, kinds)
        if path:
            try:
                save(path)
            except (OSError, ValueError) as error:
                self._state.set_notice(Notice(f"{path} could not be written: {error}"))

    def _save_picture(self, path: str) -> None:
        cloud_export.save_picture(self._scene, path)

    def _save_cloud(self, path: str) -> None:
        if self._state.cloud is not None:
            cloud_export.save_cloud(self._state.cloud, path)

    def _save_neighbours(self, path: str) -> None:
        around, cloud = self._state.vectors.neighbourhood, self._state.cloud
        if around is None or cloud is None:
            raise ValueError("no token is selected")
        cloud_export.save_neighbours(around, cloud.pieces, path)
