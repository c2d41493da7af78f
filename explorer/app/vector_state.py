"""The part of the shared state that is about token vectors: what was asked of them and what came back."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QObject, Signal

from explorer.core.positions import PositionEncoding
from explorer.core.vectors import Arithmetic, CosineMatrix, Neighbourhood, TokenPath, VectorMode


class VectorState(QObject):
    """Held by `AppState` as ``vectors``; the same rules: set on the GUI thread, one signal per field."""

    mode_changed = Signal()
    neighbourhood_changed = Signal()
    arithmetic_changed = Signal()
    matrix_changed = Signal()
    path_changed = Signal()
    positions_changed = Signal()

    arithmetic_requested = Signal(str)
    matrix_requested = Signal(tuple)
    path_requested = Signal()
    positions_requested = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._mode: VectorMode = "raw"
        self._neighbourhood: Neighbourhood | None = None
        self._arithmetic: Arithmetic | None = None
        self._matrix: CosineMatrix | None = None
        self._path: TokenPath | None = None
        self._positions: tuple[PositionEncoding, ...] | None = None

    def clear(self) -> None:
        """Another model: nothing that was read from the one before holds."""
        self.set_neighbourhood(None)
        self.set_arithmetic(None)
        self.set_matrix(None)
        self.set_path(None)
        self.set_positions(None)

    @property
    def mode(self) -> VectorMode:
        """Whether a pair is compared as it is, about the vocabulary's mean, or at length 1."""
        return self._mode

    def set_mode(self, mode: VectorMode) -> None:
        """Compare pairs another way."""
        self._set("mode", mode)

    @property
    def neighbourhood(self) -> Neighbourhood | None:
        """What lies around the selected token; None until it is read."""
        return self._neighbourhood

    def set_neighbourhood(self, neighbourhood: Neighbourhood | None) -> None:
        """The selected token's neighbours were found."""
        self._set("neighbourhood", neighbourhood)

    @property
    def arithmetic(self) -> Arithmetic | None:
        """The sum of vectors that was asked for last; None before the first."""
        return self._arithmetic

    def set_arithmetic(self, arithmetic: Arithmetic | None) -> None:
        """A sum was computed, or taken away."""
        self._set("arithmetic", arithmetic)

    @property
    def matrix(self) -> CosineMatrix | None:
        """The cosines that were asked for last."""
        return self._matrix

    def set_matrix(self, matrix: CosineMatrix | None) -> None:
        """Many tokens were compared."""
        self._set("matrix", matrix)

    @property
    def path(self) -> TokenPath | None:
        """The sentence's way through the layers; its ``run_id`` says of which run."""
        return self._path

    def set_path(self, path: TokenPath | None) -> None:
        """The hidden states were read."""
        self._set("path", path)

    @property
    def positions(self) -> tuple[PositionEncoding, ...] | None:
        """The model's position encodings; None until they are read."""
        return self._positions

    def set_positions(self, positions: tuple[PositionEncoding, ...] | None) -> None:
        """The position encodings were read."""
        self._set("positions", positions)

    def _set(self, name: str, value: Any) -> None:
        # Big values compare by identity, so that no array is ever compared.
        if getattr(self, f"_{name}") == value:
            return
        setattr(self, f"_{name}", value)
        getattr(self, f"{name}_changed").emit()
