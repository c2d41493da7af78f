"""Where the model is and what it occupies, and the menu that changes both."""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QLabel, QMenu, QPushButton, QSizePolicy, QWidget, QWidgetAction

from explorer.app.state import AppState
from explorer.core.model_facts import LoadRequest, MemoryReading
from explorer.core.quantities import in_bytes, in_short
from explorer.core.records import ModelInfo
from explorer.theme import Theme


class ModelBadge(QPushButton):
    """Device, dtype, parameters and resident bytes; pressed, what that is made of and where else it can be.

    Signals
    -------
    dialog_wanted
        A person wants to choose another model.
    """

    dialog_wanted = Signal()

    def __init__(self, state: AppState, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._state = state
        self._theme = theme
        self.setObjectName("badge")
        self.setAccessibleName("Where the model is and what it occupies")
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self._menu = QMenu(self)
        self._menu.setToolTipsVisible(True)
        self._menu.aboutToShow.connect(self._fill_menu)
        self.clicked.connect(self._on_clicked)
        models = state.models
        for signal in (state.model_changed, models.memory_changed, theme.changed):
            signal.connect(self._update_badge)
        models.surroundings_changed.connect(self._on_surroundings_changed)
        self._update_badge()

    def menu_now(self) -> QMenu:
        """The menu with what it would hold if it were opened now."""
        self._fill_menu()
        return self._menu

    def _on_clicked(self) -> None:
        self._state.models.surroundings_requested.emit()
        self._menu.popup(self.mapToGlobal(self.rect().bottomLeft()))

    def _on_surroundings_changed(self) -> None:
        if self._menu.isVisible():
            self._fill_menu()

    def _update_badge(self) -> None:
        model, memory = self._state.model, self._state.models.memory
        self.setText(f"{badge_text(model, memory)} ▾" if model is not None else badge_text(model))
        self.setToolTip(badge_tip(model, memory))
        self.setEnabled(model is not None)
        palette, space = self._theme.palette, self._theme.space
        self.setStyleSheet(
            f"#badge {{ background: {palette.generated_fill}; color: {palette.generated}; border: none;"
            f" border-radius: {space(1)}px; padding: {space(1)}px;"
            f" font-size: {self._theme.pixels('small')}px; }}"
            f"#badge:hover, #badge:focus {{ border: 1px solid {palette.generated};"
            f" padding: {space(1) - 1}px; }}"
        )

    def _fill_menu(self) -> None:
        self._menu.clear()
        model, models = self._state.model, self._state.models
        if model is None:
            return
        lines = QLabel("\n".join(memory_lines(model, models.memory)), self._menu)
        lines.setContentsMargins(*(self._theme.space(n) for n in (4, 1, 2, 1)))
        readings = QWidgetAction(self._menu)
        readings.setDefaultWidget(lines)
        self._menu.addAction(readings)
        surroundings = models.surroundings
        if surroundings is not None:
            kind = model.device.split(":")[0]
            self._menu.addSeparator()
            for choice in surroundings.precisions.get(kind, ()):
                if choice.name == "auto":
                    continue
                action = self._choice(f"as {choice.name}", choice.name == model.dtype, dtype=choice.name)
                action.setEnabled(not choice.unavailable and models.loading is None)
                action.setToolTip(choice.unavailable)
            self._menu.addSeparator()
            for device in surroundings.devices:
                here = device.name == model.device
                text = f"on {device.name}: {device.description}, {in_bytes(device.free_bytes)} free"
                action = self._choice(text, here, device=device.name)
                action.setEnabled(models.loading is None)
        self._menu.addSeparator()
        self._menu.addAction("Choose a model …").triggered.connect(self.dialog_wanted)

    def _choice(
        self, text: str, checked: bool, *, device: str | None = None, dtype: str | None = None
    ) -> QAction:
        model = self._state.model
        assert model is not None
        action = self._menu.addAction(text)
        action.setCheckable(True)
        action.setChecked(checked)
        wanted = self._state.models.wanted
        request = LoadRequest(
            model.name if model.bundled else model.source,
            device or model.device,
            dtype or model.dtype,
            allow_pickle=wanted.allow_pickle,
        )
        if not checked:
            action.triggered.connect(lambda: self._state.models.load_requested.emit(replace(request)))
        return action


def badge_text(model: ModelInfo | None, memory: MemoryReading | None = None) -> str:
    """Device, dtype, parameters and resident bytes, e.g. ``cpu · float32 · 7.6 M · 31 MB resident``."""
    if model is None:
        return "no model yet"
    run = 0 if memory is None else memory.cache + memory.captured
    device = model.device if len(model.placement) < 2 else f"{len(model.placement)} devices"
    return " · ".join(
        (
            device,
            model.dtype,
            in_short(model.parameter_count),
            f"{in_bytes(model.resident_bytes + run)} resident",
        )
    )


def badge_tip(model: ModelInfo | None, memory: MemoryReading | None = None) -> str:
    """The same in full, and how the model is built."""
    if model is None:
        return "The model is being loaded."
    layers = ", ".join(f"{kind} {n} layers x {model.heads[kind]} heads" for kind, n in model.layers.items())
    lines = [
        f"{model.architecture} ({model.family})",
        f"{model.parameter_count:,} parameters as {model.dtype}",
        *memory_lines(model, memory),
        f"vocabulary {model.vocabulary_size:,}, hidden size {model.hidden_size}",
        f"attention: {layers}",
        f"context: {model.context_length or 'no fixed limit'}",
        *_language_lines(model),
        *model.notes,
    ]
    return "\n".join(lines)


def _language_lines(model: ModelInfo) -> list[str]:
    if not model.languages:
        return []
    own = model.own_languages
    writes = f"writes {own.target}" if own.target else "writes what its first token decides"
    return [f"languages: {len(model.languages)}; by itself it reads {own.source or 'none'} and {writes}"]


def memory_lines(model: ModelInfo, memory: MemoryReading | None) -> list[str]:
    """What is there, one line each: weights by device, the run's cache and captures, peak, free."""
    lines = [f"weights: {in_bytes(size)} on {device}" for device, size in model.placement.items()]
    lines = lines or [f"weights: {in_bytes(model.resident_bytes)} on {model.device}"]
    if memory is not None:
        peak = "of the whole program" if memory.device == "cpu" else f"on {memory.device}"
        lines += [
            f"key-value cache: {in_bytes(memory.cache)}",
            f"captured queries and keys: {in_bytes(memory.captured)}",
            f"peak {peak}: {in_bytes(memory.peak)}",
            f"free: {in_bytes(memory.free)}",
        ]
    return lines
