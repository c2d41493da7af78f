"""A row or column of joined buttons of which one is down."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtGui import QFontMetrics
from PySide6.QtWidgets import QBoxLayout, QButtonGroup, QPushButton, QSizePolicy, QWidget

from explorer.theme import Theme


class Segmented(QWidget):
    """Chooses one of a few named things.

    Signals
    -------
    chosen : str
        A person pressed the button of that name; not emitted by `set_current`.
    """

    chosen = Signal(str)

    def __init__(
        self,
        theme: Theme,
        name: str,
        parent: QWidget | None = None,
        *,
        dense: bool = False,
        vertical: bool = False,
    ) -> None:
        super().__init__(parent)
        self.theme = theme
        # Many names in a narrow panel stand closer together.
        self._margin = 0.6 if dense else 1.1
        self._vertical = vertical
        self.setObjectName(name)
        self._group = QButtonGroup(self)
        self._group.setExclusive(True)
        down = QBoxLayout.Direction.TopToBottom
        self._layout = QBoxLayout(down if vertical else QBoxLayout.Direction.LeftToRight, self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(0)
        self._names: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """What there is to choose from."""
        return self._names

    def set_names(self, names: Sequence[str], tooltips: Sequence[str]) -> None:
        """Offer these, from left to right."""
        if tuple(names) == self._names:
            return
        for button in self._group.buttons():
            self._group.removeButton(button)
            self._layout.removeWidget(button)
            button.deleteLater()
        self._names = tuple(names)
        for name, tooltip in zip(names, tooltips, strict=True):
            button = QPushButton(name, self)
            button.setObjectName(f"{self.objectName()}_{name}")
            button.setCheckable(True)
            button.setToolTip(tooltip)
            button.clicked.connect(lambda _checked=False, name=name: self.chosen.emit(name))
            if self._vertical:  # beside a low view they share its height
                button.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.MinimumExpanding)
                button.setMinimumHeight(1)
            self._group.addButton(button)
            self._layout.addWidget(button)
        self.update_theme()

    def set_current(self, name: str | None) -> None:
        """Show ``name`` as the chosen one; nothing is emitted."""
        for button in self._group.buttons():
            if button.text() == name:
                button.setChecked(True)

    def button(self, name: str) -> QPushButton:
        """The button of that name."""
        return next(button for button in self._buttons() if button.text() == name)

    def update_theme(self) -> None:
        """Colours or sizes changed: only the outer corners are round, and neighbours share a border."""
        if self._vertical:
            self._style_column()
            return
        radius, pad = self.theme.space(1), self.theme.space(1)
        buttons = self._buttons()
        # The chosen one is bold, and Qt measures it as if it were not.
        measure = QFontMetrics(self.theme.prose("body", bold=True)).horizontalAdvance
        for place, button in enumerate(buttons):
            left = radius if place == 0 else 0
            right = radius if place == len(buttons) - 1 else 0
            button.setStyleSheet(
                f"QPushButton {{ padding: {round(pad * 0.55)}px {round(pad * self._margin)}px;"
                f" margin-left: {-1 if place else 0}px;"
                f" border-top-left-radius: {left}px; border-bottom-left-radius: {left}px;"
                f" min-width: {measure(button.text()) + 2}px;"
                f" border-top-right-radius: {right}px; border-bottom-right-radius: {right}px; }}"
            )

    def _style_column(self) -> None:
        radius, pad = self.theme.space(1), self.theme.space(1)
        buttons = self._buttons()
        measure = QFontMetrics(self.theme.prose("small", bold=True)).horizontalAdvance
        widest = max(measure(button.text()) for button in buttons) + 2
        for place, button in enumerate(buttons):
            top = radius if place == 0 else 0
            bottom = radius if place == len(buttons) - 1 else 0
            button.setStyleSheet(
                f"QPushButton {{ padding: {round(pad * 0.6)}px {round(pad * self._margin)}px;"
                f" min-width: {widest}px;"
                f" font-size: {self.theme.pixels('small')}px; margin-top: {-1 if place else 0}px;"
                f" border-top-left-radius: {top}px; border-top-right-radius: {top}px;"
                f" border-bottom-left-radius: {bottom}px; border-bottom-right-radius: {bottom}px; }}"
            )

    def _buttons(self) -> list[QPushButton]:
        return [button for button in self._group.buttons() if isinstance(button, QPushButton)]
